//! A reader of protobuf's wire format (<https://protobuf.dev/programming-guides/encoding/>) that builds nothing.

/// One field of an encoded message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Field<'a> {
    pub(crate) number: u64,
    /// The content of a length-delimited field; `None` for the number types.
    pub(crate) bytes: Option<&'a [u8]>,
    /// The value of a varint field; `None` for other types.
    pub(crate) value: Option<u64>,
}

/// Broken encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// The fields of an encoded message, in the order of the bytes. Ends after the first error.
#[derive(Clone, Debug)]
pub(crate) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first().ok_or(Malformed)?;
            self.0 = rest;
            // The tenth byte has room for one bit.
            if shift == 63 && byte > 1 {
                return Err(Malformed);
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Malformed)
    }

    fn take(&mut self, count: u64) -> Result<&'a [u8], Malformed> {
        let count = usize::try_from(count).map_err(|_| Malformed)?;
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn field(&mut self) -> Result<Field<'a>, Malformed> {
        let key = self.varint()?;
        let number = key >> 3;
        if number == 0 || key > u64::from(u32::MAX) {
            return Err(Malformed);
        }
        let (bytes, value) = match key & 7 {
            0 => (None, Some(self.varint()?)),
            1 => self.take(8).map(|_| (None, None))?,
            2 => {
                let length = self.varint()?;
                (Some(self.take(length)?), None)
            }
            5 => self.take(4).map(|_| (None, None))?,
            // Groups (3, 4) are older than this protocol: no client has a reason to send one.
            _ => return Err(Malformed),
        };
        Ok(Field { number, bytes, value })
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}
