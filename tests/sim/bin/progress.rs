//! What a person sees while seeds run.

use indicatif::{ProgressBar, ProgressStyle};
use quorate_sim::{POINTS, Report, missing};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// Counts, and shows the counts.
pub(crate) struct Progress {
    bar: ProgressBar,
    began: Instant,
    seeds: u64,
    failed: u64,
    simulated: Duration,
    confirmed: u64,
    faults: u64,
    points: BTreeMap<String, u64>,
    /// Seeds that reached each point.
    reached: BTreeMap<String, u64>,
}

impl Progress {
    /// Of so many seeds, if that is known.
    pub(crate) fn new(seeds: Option<u64>) -> Self {
        let bar = match seeds {
            Some(seeds) => ProgressBar::new(seeds),
            None => ProgressBar::new_spinner(),
        };
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed} {msg}") {
            bar.set_style(style);
        }
        Self {
            bar,
            began: Instant::now(),
            seeds: 0,
            failed: 0,
            simulated: Duration::ZERO,
            confirmed: 0,
            faults: 0,
            points: BTreeMap::new(),
            reached: BTreeMap::new(),
        }
    }

    /// One more seed; a failure is told at once.
    pub(crate) fn take(&mut self, report: &Report, bug: Option<&str>) {
        self.seeds += 1;
        self.simulated += report.simulated;
        self.confirmed += report.confirmed as u64;
        self.faults += report.faults;
        for (point, count) in &report.points {
            *self.points.entry(point.clone()).or_default() += count;
            *self.reached.entry(point.clone()).or_default() += 1;
        }
        if report.violation.is_some() {
            self.failed += 1;
            self.bar.suspend(|| println!("{}", report.explain(bug)));
        }
        self.bar.set_message(self.rates());
        self.bar.inc(1);
    }

    fn rates(&self) -> String {
        let seconds = self.began.elapsed().as_secs_f64().max(0.001);
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        let seeds = self.seeds as f64 / seconds * 3_600.0;
        let simulated = self.simulated.as_secs_f64() / seconds;
        format!("{} failed, {seeds:.0} seeds/h, {simulated:.0} simulated s/s", self.failed)
    }

    /// Says how it went.
    pub(crate) fn end(&self) {
        self.bar.finish_and_clear();
        println!(
            "{} seeds in {:.0?}: {}; {} messages confirmed under {} faults",
            self.seeds,
            self.began.elapsed(),
            self.rates(),
            self.confirmed,
            self.faults
        );
    }

    /// How often each rare point was reached.
    pub(crate) fn points(&self) {
        println!("rare points: times, in how many seeds");
        for point in POINTS {
            let count = |counts: &BTreeMap<String, u64>| counts.get(*point).copied().unwrap_or_default();
            println!("{:>9} {:>6}  {point}", count(&self.points), count(&self.reached));
        }
        let missing = missing(&self.points);
        if !missing.is_empty() {
            println!("never reached: {}", missing.join(", "));
        }
    }

    /// Nothing was broken.
    pub(crate) fn is_good(&self) -> bool {
        self.failed == 0 && self.seeds > 0
    }
}
