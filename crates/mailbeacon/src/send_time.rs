//! `mailbeacon send-time`: when to write to a recipient, or why there is no answer.

use store::{Level, Refusal, SendTimes, Window};

use crate::settings::Settings;

/// Whom to ask about.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The recipient, as the sending application names it when it mints links.
    recipient: String,
    /// The sending application's workspace.
    #[arg(long, default_value_t = 1)]
    workspace: u32,
}

/// Prints the answer for people.
pub fn run(settings: &Settings, args: &Args) -> anyhow::Result<()> {
    let recipient = settings.keys()?.recipient(args.workspace, &args.recipient);
    let store = settings.store()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match runtime.block_on(store.send_times(args.workspace, recipient))? {
        SendTimes::Windows(windows) => windows.iter().for_each(print),
        SendTimes::Refused(refusal) => {
            println!("no recommendation ({}): {}", refusal.as_str(), why(refusal));
        }
    }
    Ok(())
}

fn print(window: &Window) {
    let Window { start_hour, end_hour, time_zone, lift, confidence, observed, expected, events, .. } = window;
    println!("{start_hour:02}:00-{end_hour:02}:00 {time_zone}");
    println!("  lift        {lift:.2} times the activity at the workspace's usual hour");
    println!("  confidence  {:.0} %", confidence * 100.0);
    println!(
        "  evidence    {observed:.1} events around that hour, {expected:.1} expected; {events} events in all"
    );
    println!(
        "  level       {}",
        match window.level {
            Level::Recipient => "the recipient's own habit",
            Level::Workspace => "the workspace's habit: the recipient's own is not sure enough",
        }
    );
}

fn why(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Eu => "there is a sign that this recipient is in the EU, the EEA or the UK",
        Refusal::RegionUnknown => "nothing says that this recipient is outside the EU, the EEA and the UK",
        Refusal::NotEnoughEvents => "too few opens and clicks by a person",
        Refusal::UnknownRecipient => "no event of this recipient is known",
    }
}
