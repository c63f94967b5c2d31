//! `mailbeacon link`: tracked URLs, one at a time or for a whole message on stdin.

use std::io::{Read, Write};

use anyhow::{Context, bail};
use clap::ValueEnum;
use event::{Kind, Mode, Position, Region};
use link::{Keys, Link, MessageSpec, Site};

use crate::settings::Settings;

/// What to mint.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// The URL of a pixel.
    Open {
        #[command(flatten)]
        about: About,
        /// Where in the message it stands.
        #[arg(long, value_enum, default_value = "bottom")]
        position: PositionName,
    },
    /// The URL of a link.
    Click(Target),
    /// The URL of a download.
    Download(Target),
    /// Reads a message's HTML on stdin, writes it with tracked links and pixels to stdout, and tells on stderr
    /// what became of each link and what may go wrong in the wild.
    ///
    /// Links marked off stay as they are: data-mailbeacon="off", disable-tracking, clicktracking="off",
    /// data-msys-clicktrack="0", data-no-track, ses:no-track and the like.
    Message {
        #[command(flatten)]
        about: About,
        /// Leave pixels out.
        #[arg(long)]
        no_opens: bool,
        /// Leave links as they are.
        #[arg(long)]
        no_clicks: bool,
        /// Put in a hidden link to this URL: whoever follows it is a machine.
        #[arg(long, value_name = "URL")]
        trap: Option<String>,
        /// A query parameter for every link, such as utm_source=news. One that is there already stays.
        #[arg(long, value_name = "NAME=VALUE")]
        utm: Vec<String>,
    },
}

/// Whose link it is.
#[derive(Debug, clap::Args)]
pub struct About {
    /// The recipient, as the sending application names it; only a keyed hash goes into the link, and nothing in the
    /// modes anonymous and off.
    #[arg(long)]
    recipient: Option<String>,
    /// The message (campaign, template): a number, or a name of which a hash goes into the link.
    #[arg(long)]
    message: String,
    /// The sending application's workspace.
    #[arg(long, default_value_t = 1)]
    workspace: u32,
    /// When the message is sent, RFC 3339; now when left out.
    #[arg(long, value_name = "TIME")]
    sent: Option<jiff::Timestamp>,
    /// How much may be recorded.
    #[arg(long, value_enum, default_value = "full")]
    mode: ModeName,
    /// Where the recipient is, as far as you know: no send time is computed for `eu` (EU, EEA, UK) or `unknown`.
    #[arg(long, value_enum, default_value = "unknown")]
    region: RegionName,
}

/// Where a link goes.
#[derive(Debug, clap::Args)]
pub struct Target {
    #[command(flatten)]
    about: About,
    /// The link's number in the message.
    #[arg(long, default_value_t = 1)]
    number: u32,
    /// The link is hidden: whoever follows it is a machine.
    #[arg(long)]
    trap: bool,
    /// Where it goes: an absolute http or https URL.
    url: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum PositionName {
    Top,
    Bottom,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum ModeName {
    /// All that is documented.
    Full,
    /// Counts per message, link and hour: nothing that tells one person from another.
    Anonymous,
    /// The day on which a recipient opened something, and no more.
    Date,
    /// Nothing.
    Off,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum RegionName {
    /// In the EU, the EEA or the UK.
    Eu,
    /// Elsewhere.
    Other,
    /// Not known.
    Unknown,
}

/// Mints and prints.
pub fn run(settings: &Settings, command: &Command) -> anyhow::Result<()> {
    let keys = settings.keys()?;
    let site = Site::new(&settings.site.base_url).context("site.base_url")?;
    let url = match command {
        Command::Open { about, position } => {
            let position = match position {
                PositionName::Top => Position::Top,
                PositionName::Bottom => Position::Bottom,
            };
            site.url(&keys, &Link { kind: Kind::Open, position, ..about.link(&keys)? })?
        }
        Command::Click(target) => site.url(&keys, &target.link(&keys, Kind::Click)?)?,
        Command::Download(target) => site.url(&keys, &target.link(&keys, Kind::Download)?)?,
        Command::Message { about, no_opens, no_clicks, trap, utm } => {
            let Link { workspace, message, recipient, sent_at_ms, mode, region, .. } = about.link(&keys)?;
            let spec = MessageSpec {
                workspace,
                message,
                recipient,
                sent_at_ms,
                mode,
                region,
                opens: !no_opens,
                clicks: !no_clicks,
                trap: trap.clone(),
                utm: utm.iter().map(|text| parameter(text)).collect::<anyhow::Result<_>>()?,
                ..MessageSpec::default()
            };
            return instrument(&keys, &site, &spec);
        }
    };
    println!("{url}");
    Ok(())
}

fn instrument(keys: &Keys, site: &Site, spec: &MessageSpec) -> anyhow::Result<()> {
    let mut html = String::new();
    // One byte more than may be, so that a longer message is refused and not cut.
    std::io::stdin()
        .take(spec.bytes_max as u64 + 1)
        .read_to_string(&mut html)
        .context("failed to read the message on stdin: expected HTML in UTF-8")?;
    let done = link::instrument(&html, keys, site, spec)?;
    std::io::stdout().write_all(done.html.as_bytes())?;
    for link in &done.links {
        let kind = if link.kind == Kind::Download { "download" } else { "click" };
        eprintln!("link {:>3}  {kind:8}  {}", link.number, link.target);
    }
    for warning in &done.warnings {
        eprintln!("warning   {warning}");
    }
    Ok(())
}

impl About {
    fn link(&self, keys: &Keys) -> anyhow::Result<Link> {
        let mode = match self.mode {
            ModeName::Full => Mode::Full,
            ModeName::Anonymous => Mode::Anonymous,
            ModeName::Date => Mode::Date,
            ModeName::Off => Mode::Off,
        };
        let recipient = match &self.recipient {
            Some(id) if id.is_empty() => {
                bail!("--recipient is empty: expected the sender's own id of the recipient")
            }
            Some(id) => keys.recipient(self.workspace, id),
            None if link::names_recipient(mode) => {
                bail!("--recipient is missing: only the modes anonymous and off go without")
            }
            None => 0,
        };
        if self.message.is_empty() {
            bail!("--message is empty: expected a number or a name");
        }
        Ok(Link {
            workspace: self.workspace,
            message: keys.message(self.workspace, &self.message),
            recipient,
            sent_at_ms: self.sent.unwrap_or_else(jiff::Timestamp::now).as_millisecond(),
            mode,
            region: match self.region {
                RegionName::Eu => Region::Eu,
                RegionName::Other => Region::Other,
                RegionName::Unknown => Region::Unspecified,
            },
            ..Link::default()
        })
    }
}

impl Target {
    fn link(&self, keys: &Keys, kind: Kind) -> anyhow::Result<Link> {
        let Target { about, number, trap, url } = self;
        Ok(Link { kind, link: *number, target: url.clone(), trap: *trap, ..about.link(keys)? })
    }
}

fn parameter(text: &str) -> anyhow::Result<(String, String)> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => bail!("--utm {text:?}: expected NAME=VALUE"),
    }
}
