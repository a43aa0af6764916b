//! `quorate top`

mod rates;
mod screen;

use crate::args::ClientArgs;
use crate::clients::connect;
use crate::failure::Failure;
use crate::output::Output;
use crate::signals::Signals;
use clap::Args;
use quorate_client::v1::NodeFigures;
use rates::Frame;
use screen::Screen;
use std::time::Duration;
use tokio::time::sleep;

const EXAMPLES: &str = "\
Examples:
  quorate top                              until Ctrl-C, anew every two seconds
  quorate top --once                       one look, for a script or a report
  quorate top --interval 10s --rows 30
  quorate top --output json                one document a line";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct TopArgs {
    /// How long each look lasts: rates are those of this time.
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = humantime::parse_duration)]
    interval: Duration,
    /// Show one look and end.
    #[arg(long)]
    once: bool,
    /// Topics and subscriptions to show, the busiest first.
    #[arg(long, value_name = "COUNT", default_value_t = 10)]
    rows: usize,
    #[command(flatten)]
    client: ClientArgs,
}

/// Of each node, topic and subscription; the busiest of them are shown.
const ASKED_FOR: u32 = 1_000;

pub(crate) async fn run(args: TopArgs, output: Output) -> Result<(), Failure> {
    let mut signals = Signals::catch()?;
    let client = connect(&args.client).await?;
    let mut screen = Screen::new(output, args.once);
    let mut before: Vec<NodeFigures> = client.figures(ASKED_FOR).await?;
    loop {
        tokio::select! {
            biased;
            // Leaving is how this ends.
            _ = signals.next() => return Ok(()),
            () = sleep(args.interval) => {}
        }
        let now = tokio::select! {
            biased;
            _ = signals.next() => return Ok(()),
            now = client.figures(ASKED_FOR) => now?,
        };
        screen.show(&Frame::between(&before, &now), args.rows)?;
        if args.once {
            return Ok(());
        }
        before = now;
    }
}
