//! Sets of a publish's messages, as stretches: which of them go where.

use crate::publishes::{RunView, Runs};
use quorate_types::Filter;

/// Consecutive messages of a publish, by the number of the first and how many.
pub(crate) type Stretch = (u64, u64);

/// Which messages the filters select, joined where they follow each other.
pub(crate) fn selected<'f>(
    filters: impl Iterator<Item = &'f Filter> + Clone,
    runs: Runs<'_>,
) -> Vec<Stretch> {
    if filters.clone().any(Filter::matches_all) {
        return vec![(0, runs.map(|run| u64::from(run.count)).sum())];
    }
    let mut found: Vec<Stretch> = Vec::new();
    let mut at = 0;
    for RunView { subject, count, .. } in runs {
        let count = u64::from(count);
        if filters.clone().any(|f| f.matches(subject)) {
            match found.last_mut() {
                Some((start, n)) if *start + *n == at => *n += count,
                _ => found.push((at, count)),
            }
        }
        at += count;
    }
    found
}

/// The messages of any of the stretches: in order, joined where they follow each other or overlap.
pub(crate) fn union(mut all: Vec<Stretch>) -> Vec<Stretch> {
    all.sort_unstable();
    let mut joined: Vec<Stretch> = Vec::with_capacity(all.len());
    for (start, count) in all {
        match joined.last_mut() {
            Some((begin, n)) if start <= *begin + *n => *n = (*n).max(start + count - *begin),
            _ => joined.push((start, count)),
        }
    }
    joined
}

/// The messages that are in both; each is what [`union`] gives.
pub(crate) fn both(one: &[Stretch], other: &[Stretch]) -> Vec<Stretch> {
    let (mut one, mut other) = (one.iter().copied().peekable(), other.iter().copied().peekable());
    let mut found = Vec::new();
    while let (Some((a, n)), Some((b, m))) = (one.peek().copied(), other.peek().copied()) {
        let (begin, end) = (a.max(b), (a + n).min(b + m));
        if begin < end {
            found.push((begin, end - begin));
        }
        if a + n <= b + m {
            one.next();
        } else {
            other.next();
        }
    }
    found
}

/// The messages of the first that are not in the second; each is what [`union`] gives.
pub(crate) fn without(one: &[Stretch], other: &[Stretch]) -> Vec<Stretch> {
    // What lies between those of the second, up to the end of the first.
    let end = one.last().map_or(0, |(start, count)| start + count);
    let begins = std::iter::once(0).chain(other.iter().map(|(start, count)| start + count));
    let ends = other.iter().map(|(start, _)| *start).chain([end]);
    let gaps: Vec<Stretch> = begins
        .zip(ends)
        .filter(|(begin, end)| begin < end)
        .map(|(begin, end)| (begin, end - begin))
        .collect();
    both(one, &gaps)
}

/// The runs of a stretch of messages.
pub(crate) fn part<'a>(runs: Runs<'a>, (start, count): Stretch) -> Vec<RunView<'a>> {
    let mut at = 0;
    let end = start + count;
    let part = |run: RunView<'a>| {
        let begin = at;
        at += u64::from(run.count);
        let wanted = at.min(end).saturating_sub(begin.max(start));
        let count = u32::try_from(wanted).ok().filter(|n| *n > 0)?;
        Some(RunView { count, ..run })
    };
    runs.filter_map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::PublishRun;
    use crate::options::MessageOptions;
    use proptest::prelude::*;
    use quorate_types::Subject;
    use std::collections::BTreeSet;

    fn runs(runs: &[(&str, u32)]) -> Vec<PublishRun> {
        let run = |(subject, count): &(&str, u32)| PublishRun {
            subject: Subject::parse(subject).unwrap(),
            count: *count,
            options: MessageOptions::default(),
        };
        runs.iter().map(run).collect()
    }

    #[test]
    fn messages_that_follow_each_other_are_one_stretch_whichever_filter_selects_them() {
        let runs = runs(&[("a.b", 2), ("c", 1), ("a.x", 3), ("a.b", 1), ("", 1)]);
        let selected = |filters: &[&str]| {
            let filters: Vec<Filter> = filters.iter().map(|f| Filter::parse(f).unwrap()).collect();
            selected(filters.iter(), Runs::Plain(&runs))
        };
        assert_eq!(selected(&["#", "a.*"]), [(0, 8)]);
        assert_eq!(selected(&["a.b", "a.x", "*.x"]), [(0, 2), (3, 4)]);
        assert_eq!(selected(&["d"]), []);
        assert_eq!(selected(&[]), []);
    }

    #[test]
    fn a_part_has_the_subjects_of_its_messages() {
        let runs = runs(&[("a", 2), ("b", 1), ("c", 3)]);
        let part = |stretch| {
            let part = part(Runs::Plain(&runs), stretch);
            part.into_iter().map(|run| (run.subject, run.count)).collect::<Vec<_>>()
        };
        assert_eq!(part((0, 6)), [("a", 2), ("b", 1), ("c", 3)]);
        assert_eq!(part((1, 3)), [("a", 1), ("b", 1), ("c", 1)]);
        assert_eq!(part((4, 1)), [("c", 1)]);
        assert_eq!(part((2, 1)), [("b", 1)]);
    }

    fn numbers(stretches: &[Stretch]) -> BTreeSet<u64> {
        stretches.iter().flat_map(|(start, count)| *start..start + count).collect()
    }

    proptest! {
        #[test]
        fn they_are_the_sets_of_their_messages(
            one in prop::collection::vec((0u64..30, 1u64..6), 0..8), other in prop::collection::vec((0u64..30, 1u64..6), 0..8),
        ) {
            let (a, b) = (numbers(&one), numbers(&other));
            let (one, other) = (union(one), union(other));
            prop_assert_eq!(&numbers(&one), &a);
            prop_assert!(one.windows(2).all(|pair| pair[0].0 + pair[0].1 < pair[1].0));
            prop_assert_eq!(numbers(&both(&one, &other)), &a & &b);
            prop_assert_eq!(numbers(&without(&one, &other)), &a - &b);
        }
    }
}
