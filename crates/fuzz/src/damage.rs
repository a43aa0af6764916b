//! What may become of bytes.

use crate::source::Source;

/// Bytes that mean something in one of the formats: ends of ranges, markers of bincode's longer numbers, protobuf's continuation.
const BYTES: [u8; 12] = [0, 1, 2, 0x7f, 0x80, 0xf0, 0xfb, 0xfc, 0xfd, 0xfe, 0xff, b'"'];

impl Source<'_> {
    /// Damages bytes in up to four places: bits and numbers change, pieces are lost, doubled, moved or put in, the end goes.
    pub fn damage(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            self.damage_once(bytes);
        }
    }

    fn damage_once(&mut self, bytes: &mut Vec<u8>) {
        let at = self.below(bytes.len());
        let piece = at..bytes.len().min(at + 1 + self.below(24));
        match self.byte() % 10 {
            0 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << (self.byte() % 8)),
            1 => {
                let byte = self.one(&BYTES).copied().unwrap_or_default();
                bytes.iter_mut().skip(at).take(1).for_each(|found| *found = byte);
            }
            2 => bytes.truncate(at),
            3 if at < bytes.len() => drop(bytes.drain(piece)),
            4 => self.put_in(bytes, at),
            5 if at < bytes.len() => {
                let doubled = bytes[piece.clone()].to_vec();
                drop(bytes.splice(piece.end..piece.end, doubled));
            }
            6 if at < bytes.len() => {
                let moved: Vec<u8> = bytes.drain(piece).collect();
                let to = self.below(bytes.len() + 1);
                drop(bytes.splice(to..to, moved));
            }
            // A number where one may be: in four bytes or eight, the lowest first or last.
            7 | 8 => {
                let (number, width) = (self.number(), if self.flip() { 4 } else { 8 });
                let mut number = number.to_le_bytes()[..width].to_vec();
                if self.one_in(4) {
                    number.reverse();
                }
                bytes.iter_mut().skip(at).zip(number).for_each(|(found, byte)| *found = byte);
            }
            _ => bytes.extend(self.bytes(16)),
        }
    }

    /// Bytes that were not there, among them lengths of more than there ever is.
    fn put_in(&mut self, bytes: &mut Vec<u8>, at: usize) {
        let put = match self.byte() % 4 {
            0 => vec![0xfd, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
            1 => vec![0xfc, 0xff, 0xff, 0xff, 0x03],
            2 => vec![0xff, 0xff, 0xff, 0xff, 0x0f],
            _ => self.bytes(12),
        };
        drop(bytes.splice(at..at, put));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_there_is_can_be_damaged() {
        let mut lengths = std::collections::BTreeSet::new();
        for len in [0, 1, 3, 60] {
            for n in 0..=u8::MAX {
                let drawn: Vec<u8> = (0..60).map(|at| n.wrapping_mul(at).wrapping_add(at)).collect();
                let mut bytes = vec![7; len];
                Source::new(&drawn).damage(&mut bytes);
                lengths.insert((len, bytes.len()));
            }
        }
        assert!(lengths.len() > 60, "{lengths:?}");
    }
}
