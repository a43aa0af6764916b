//! A mark that is crossed at one level and left at another, so that nothing flutters around it.

/// Between the two levels lies this part of the mark: what a refusal brings back soon is more.
const GAP: u64 = 16;

/// Whether a level is beyond its mark.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Watermark {
    beyond: bool,
}

impl Watermark {
    pub(super) fn is_beyond(self) -> bool {
        self.beyond
    }

    /// The level must not be below `min`; once it was, it must come above that by a sixteenth.
    pub(super) fn at_least(&mut self, level: u64, min: u64) {
        let enough = if self.beyond { min.saturating_add(min / GAP) } else { min };
        self.beyond = level < enough;
    }

    /// The level must not be above `max`; once it was, it must come below that by a sixteenth.
    pub(super) fn at_most(&mut self, level: u64, max: u64) {
        let enough = if self.beyond { max - max / GAP } else { max };
        self.beyond = level > enough;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_left_only_when_the_level_is_well_on_the_other_side() {
        let follow = |step: fn(&mut Watermark, u64), levels: &[u64]| -> Vec<bool> {
            let mut mark = Watermark::default();
            let mut at = |level: &u64| {
                step(&mut mark, *level);
                mark.is_beyond()
            };
            levels.iter().map(&mut at).collect()
        };
        let disk: fn(&mut Watermark, u64) = |mark, level| mark.at_least(level, 160);
        assert_eq!(follow(disk, &[160, 159, 160, 169, 170, 160]), [false, true, true, true, false, false]);
        let memory: fn(&mut Watermark, u64) = |mark, level| mark.at_most(level, 160);
        assert_eq!(follow(memory, &[160, 161, 160, 151, 150, 160]), [false, true, true, true, false, false]);
        let never: fn(&mut Watermark, u64) = |mark, level| mark.at_least(level, u64::MAX);
        assert_eq!(follow(never, &[u64::MAX - 1, u64::MAX]), [true, false]);
    }
}
