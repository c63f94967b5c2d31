//! One visit with the answer that is expected.

use std::borrow::Cow;
use std::io::{BufRead, Read};
use std::net::IpAddr;

use anyhow::{Context, bail};
use enrich::{DeviceType, Verdict};
use serde::Deserialize;

/// The longest line, its end included. The edge keeps 512 bytes of a user agent.
const LINE_BYTES_MAX: u64 = 65_536;

/// A line as it is written.
#[derive(Debug, Deserialize)]
pub struct Line<'a> {
    /// The visitor's `User-Agent`; may be empty.
    #[serde(borrow)]
    pub user_agent: Cow<'a, str>,
    /// What was visited.
    pub kind: Kind,
    /// Who it was.
    pub expected: Expected,
    /// Where from. Never shown.
    #[serde(borrow)]
    address: Option<Cow<'a, str>>,
    /// With what.
    pub device: Option<Device>,
    /// Which set the line counts in.
    #[serde(borrow)]
    pub set: Option<Cow<'a, str>>,
}

/// A visit's kind.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A pixel was loaded.
    Open,
    /// A link was followed.
    Click,
    /// A file was loaded.
    Download,
}

/// Who is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Expected {
    /// A person.
    Human,
    /// A person behind an image proxy, and no more than that can be known.
    Proxy,
    /// Any machine.
    Bot,
}

/// The device that is expected, in the order of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Device {
    Phone,
    Tablet,
    Desktop,
    Tv,
    Console,
    Wearable,
    Other,
    Unknown,
}

impl Device {
    /// All of them, each at the place of its number.
    pub const ALL: [(Device, DeviceType); 8] = [
        (Device::Phone, DeviceType::Phone),
        (Device::Tablet, DeviceType::Tablet),
        (Device::Desktop, DeviceType::Desktop),
        (Device::Tv, DeviceType::Tv),
        (Device::Console, DeviceType::Console),
        (Device::Wearable, DeviceType::Wearable),
        (Device::Other, DeviceType::Other),
        (Device::Unknown, DeviceType::Unknown),
    ];

    /// The same, as the rules say it.
    pub fn kind(self) -> DeviceType {
        Device::ALL[self as usize].1
    }
}

impl From<Kind> for event::Kind {
    fn from(kind: Kind) -> event::Kind {
        match kind {
            Kind::Open => event::Kind::Open,
            Kind::Click => event::Kind::Click,
            Kind::Download => event::Kind::Download,
        }
    }
}

impl Expected {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Expected::Human => "human",
            Expected::Proxy => "proxy",
            Expected::Bot => "bot",
        }
    }

    /// Whether a verdict is what is expected. A person may stand behind a proxy, so either is right for one.
    pub fn is(self, verdict: Verdict) -> bool {
        match self {
            Expected::Human => !is_machine(verdict),
            Expected::Proxy => verdict == Verdict::Proxy,
            Expected::Bot => is_machine(verdict),
        }
    }
}

/// Whether a verdict says that nobody read.
pub fn is_machine(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Prefetch | Verdict::Scanner | Verdict::Bot)
}

impl Line<'_> {
    /// Reads a line.
    pub fn parse(text: &str) -> anyhow::Result<Line<'_>> {
        let expected = "expected {\"user_agent\": …, \"kind\": \"open\"|\"click\"|\"download\", \"expected\": \
                        \"human\"|\"proxy\"|\"bot\"} and perhaps \"address\", \"device\", \"set\"";
        let line: Line = serde_json::from_str(text).context(expected)?;
        if line.set.as_deref() == Some(super::tally::ALL) {
            bail!("the set is named {:?}: expected another name, this one is the sum's", super::tally::ALL);
        }
        Ok(line)
    }

    /// The address as an event carries it; empty without one.
    pub fn address(&self) -> anyhow::Result<Vec<u8>> {
        let Some(text) = &self.address else { return Ok(Vec::new()) };
        Ok(match text.parse() {
            Ok(IpAddr::V4(v4)) => v4.octets().to_vec(),
            Ok(IpAddr::V6(v6)) => v6.octets().to_vec(),
            // What stands there may be someone's address all the same, with a slip in it.
            Err(_) => bail!("\"address\" holds no address: expected IPv4 or IPv6"),
        })
    }
}

/// Reads the next line into `text`; false at the end.
pub fn next(input: &mut dyn BufRead, text: &mut String) -> anyhow::Result<bool> {
    text.clear();
    let read = input.take(LINE_BYTES_MAX).read_line(text)? as u64;
    if read == LINE_BYTES_MAX && !text.ends_with('\n') {
        bail!("the line is too long: expected at most {LINE_BYTES_MAX} bytes");
    }
    Ok(read > 0)
}
