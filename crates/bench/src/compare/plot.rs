//! Bars, as SVG.

use crate::results::{Measurement, Results};
use crate::workloads::Workload;
use anyhow::{Context, Result};
use svg::Document;
use svg::node::element::{Group, Rectangle, Text, Title};

/// One color per broker, in their order; told apart also by those who see few colors (Okabe and Ito).
const COLORS: [&str; 6] = ["#d55e00", "#999999", "#0072b2", "#56b4e9", "#009e73", "#f0e442"];
const BAR: f64 = 13.0;
const GAP: f64 = 14.0;
const LEFT: f64 = 270.0;
const LONGEST: f64 = 520.0;
const WIDTH: f64 = 900.0;
const TOP: f64 = 60.0;

/// A group of bars per workload, one per broker that was measured; each as long as the logarithm of its figure, which stands
/// beside it.
pub(crate) fn bars(
    title: &str,
    results: &Results,
    workloads: &[&Workload],
    figure: impl Fn(&Measurement) -> Option<f64>,
) -> Result<String> {
    let brokers = results.brokers();
    let medians: Vec<Vec<Option<f64>>> = workloads
        .iter()
        .map(|w| brokers.iter().map(|b| Some(results.spread(*b, w.name, &figure)?.median)).collect())
        .collect();
    let all = || medians.iter().flatten().flatten().copied().filter(|figure| *figure > 0.0);
    // The shortest bar is a tenth of a decade long.
    let (least, most) = (all().fold(f64::MAX, f64::min) / 1.25, all().fold(f64::MIN_POSITIVE, f64::max));
    let length = |figure: f64| (figure / least).log10() / (most / least).log10() * LONGEST;
    let mut document = Document::new().add(text(20.0, 24.0, 16, title));
    let mut x = 20.0;
    for (broker, color) in brokers.iter().zip(COLORS) {
        let label = broker.title();
        document = document.add(rectangle(x, 34.0, 11.0, color)).add(text(x + 16.0, 44.0, 11, label));
        x += 36.0 + 6.2 * f64::from(u32::try_from(label.len()).unwrap_or(0));
    }
    let mut y = TOP;
    for (workload, figures) in workloads.iter().zip(&medians) {
        let mut group = Group::new().add(text(20.0, y + 11.0, 12, workload.title));
        for ((broker, color), figure) in brokers.iter().zip(COLORS).zip(figures) {
            let Some(figure) = figure.filter(|figure| *figure > 0.0) else { continue };
            let bar = rectangle(LEFT, y, length(figure), color).add(Title::new(broker.title()));
            group = group.add(bar).add(text(LEFT + length(figure) + 5.0, y + 10.0, 10, &short(figure)));
            y += BAR;
        }
        document = document.add(group);
        y += GAP;
    }
    let document = document.set("viewBox", (0, 0, WIDTH, y)).set("font-family", "sans-serif");
    let mut bytes = Vec::new();
    svg::write(&mut bytes, &document).context("drawing")?;
    String::from_utf8(bytes).context("drawing")
}

fn rectangle(x: f64, y: f64, width: f64, color: &str) -> Rectangle {
    let place = Rectangle::new().set("x", x).set("y", y);
    place.set("width", format!("{width:.1}")).set("height", BAR - 2.0).set("fill", color)
}

fn text(x: f64, y: f64, size: u32, content: &str) -> Text {
    Text::new(content).set("x", format!("{x:.1}")).set("y", y).set("font-size", size)
}

fn short(figure: f64) -> String {
    match figure {
        big if big >= 10_000.0 => format!("{:.0} k", big / 1_000.0),
        middle if middle >= 100.0 => format!("{middle:.0}"),
        small => format!("{small:.1}"),
    }
}
