//! Who made a visit: an ordered list of rules. The first that fits decides; all that fit are kept.

use std::ops::Deref;

use event::{Event, Kind, Method, Mode};

use crate::agent::{Agent, Role};
use crate::network::{Network, NetworkKind};

/// The version of the rules and of the built-in tables they read, stored with every event: a new one can be run
/// over history and compared. Raise it with every change that can change a verdict.
pub const RULESET: u16 = 2;

/// Who made a visit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Verdict {
    /// No visit: a `sent` event, or a kind that this version does not know.
    #[default]
    None,
    /// A person, as far as can be told.
    Human,
    /// A reader opened, through a mailbox provider's proxy: a person, on an unknown device in an unknown place.
    Proxy,
    /// Loaded before, or without, anyone reading.
    Prefetch,
    /// Mail security, or a link checker.
    Scanner,
    /// Any other program.
    Bot,
}

impl Verdict {
    /// The verdict of a code in the store's table; one that is not known is none.
    pub fn stored(code: u8) -> Verdict {
        use Verdict::{Bot, Human, None, Prefetch, Proxy, Scanner};
        [None, Human, Proxy, Prefetch, Scanner, Bot].get(usize::from(code)).copied().unwrap_or_default()
    }

    /// The verdict as it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::None => "none",
            Verdict::Human => "human",
            Verdict::Proxy => "proxy",
            Verdict::Prefetch => "prefetch",
            Verdict::Scanner => "scanner",
            Verdict::Bot => "bot",
        }
    }
}

/// How sure a verdict is. The numbers are the codes in the store's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Confidence {
    /// The visitor said so itself, or its network has no other visitors. Also that a `sent` event is no visit.
    #[default]
    Certain = 3,
    /// Right as a rule.
    Probable = 2,
    /// Little speaks for it, less for anything else.
    Weak = 1,
}

impl Confidence {
    /// The confidence as it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Confidence::Certain => "certain",
            Confidence::Probable => "probable",
            Confidence::Weak => "weak",
        }
    }
}

/// The codes of the rules that fitted, the deciding one first. Empty for a human: no rule spoke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reasons {
    codes: [&'static str; RULES.len()],
    len: usize,
}

impl Deref for Reasons {
    type Target = [&'static str];

    fn deref(&self) -> &[&'static str] {
        &self.codes[..self.len]
    }
}

/// A verdict with its grounds.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Judged {
    pub verdict: Verdict,
    pub confidence: Confidence,
    pub reasons: Reasons,
}

/// Judges a visit.
pub(crate) fn judge(event: &Event, agent: &Agent, network: Option<Network>) -> Judged {
    let follow = match event.kind {
        Kind::Open => false,
        Kind::Click | Kind::Download => true,
        Kind::Sent | Kind::Unspecified => return Judged::default(),
    };
    let visit = Visit { event, role: agent.role, network, follow };
    let mut judged: Option<Judged> = None;
    for rule in RULES {
        if let Some((verdict, confidence, code)) = rule(&visit) {
            let judged = judged.get_or_insert(Judged { verdict, confidence, reasons: Reasons::default() });
            judged.reasons.codes[judged.reasons.len] = code;
            judged.reasons.len += 1;
        }
    }
    judged.unwrap_or_else(|| {
        let shown = matches!(agent.role, Role::Reader | Role::Mail | Role::Phone);
        let confidence = if shown { Confidence::Probable } else { Confidence::Weak };
        Judged { verdict: Verdict::Human, confidence, reasons: Reasons::default() }
    })
}

struct Visit<'a> {
    event: &'a Event<'a>,
    role: Role,
    network: Option<Network>,
    /// A click or a download, not an open. A person's click comes from the person's own browser and network; an
    /// image may come through a proxy or a native mail app.
    follow: bool,
}

impl Visit<'_> {
    fn is_in(&self, kind: NetworkKind) -> bool {
        self.network.is_some_and(|network| network.kind == kind)
    }
}

type Found = (Verdict, Confidence, &'static str);

/// The rules in their order. Each says at most one thing, so [`Reasons`] holds one code for each.
const RULES: [fn(&Visit) -> Option<Found>; 8] = [method, purpose, trap, named, bare, proxy, network, shape];

/// Browsers follow links and load images with GET. HEAD is a checker's. A method that is not given is an older
/// writer's and says nothing.
fn method(visit: &Visit) -> Option<Found> {
    (visit.event.method == Method::Head).then_some((Verdict::Bot, Confidence::Certain, "method-head"))
}

/// `Sec-Purpose` is in the WHATWG Fetch standard; the others are what browsers sent before it.
fn purpose(visit: &Visit) -> Option<Found> {
    let event = visit.event;
    let ahead = |value: &str| {
        let value = value.to_ascii_lowercase();
        ["prefetch", "prerender", "preview"].iter().any(|word| value.contains(word))
    };
    let said = [event.sec_purpose, event.purpose, event.x_purpose, event.x_moz];
    let found = said.into_iter().any(|value| !value.is_empty() && ahead(value));
    found.then_some((Verdict::Prefetch, Confidence::Certain, "purpose-header"))
}

/// No person sees the link.
fn trap(visit: &Visit) -> Option<Found> {
    visit.event.trap.then_some((Verdict::Scanner, Confidence::Certain, "trap-link"))
}

/// Agents that name themselves. A library on an open may be a native mail app that is built on it.
fn named(visit: &Visit) -> Option<Found> {
    match visit.role {
        Role::Scanner => Some((Verdict::Scanner, Confidence::Certain, "scanner-agent")),
        Role::Preview => Some((Verdict::Bot, Confidence::Certain, "preview-agent")),
        Role::Bot => Some((Verdict::Bot, Confidence::Certain, "bot-agent")),
        Role::Library if visit.follow => Some((Verdict::Bot, Confidence::Certain, "library-agent")),
        Role::Library => Some((Verdict::Bot, Confidence::Probable, "library-agent")),
        Role::ListedCrawler => Some((Verdict::Bot, Confidence::Probable, "crawler-agent")),
        _ => None,
    }
}

/// `Mozilla/5.0` and no more is Apple's Mail Privacy Protection (Mailgun, ClickDimensions: with Apple's egress list
/// it is sure; without, the list may be old or the address lost). It loads images only: on a link it is some
/// program's. Gmail's prefetch runs while the recipient has Gmail open and the mail arrives (SparkPost).
fn bare(visit: &Visit) -> Option<Found> {
    match visit.role {
        Role::Bare if visit.follow => Some((Verdict::Bot, Confidence::Probable, "bare-agent")),
        Role::Bare if visit.is_in(NetworkKind::AppleEgress) => {
            Some((Verdict::Prefetch, Confidence::Certain, "apple-prefetch"))
        }
        Role::Bare => Some((Verdict::Prefetch, Confidence::Probable, "apple-prefetch")),
        Role::GmailPrefetch => Some((Verdict::Prefetch, Confidence::Certain, "gmail-prefetch")),
        _ => None,
    }
}

/// An image proxy loads when the reader opens (ScientiaMobile, Validity), so it is no machine on an open: to call
/// it one sets Gmail's open rate to nothing. Nobody follows a link through it. Proton loads images on arrival.
fn proxy(visit: &Visit) -> Option<Found> {
    match visit.role {
        Role::ImageProxy if visit.follow => Some((Verdict::Bot, Confidence::Certain, "image-proxy")),
        Role::ImageProxy if visit.is_in(NetworkKind::Mailbox) => {
            Some((Verdict::Proxy, Confidence::Certain, "image-proxy"))
        }
        Role::ImageProxy => Some((Verdict::Proxy, Confidence::Probable, "image-proxy")),
        _ if !visit.follow && visit.is_in(NetworkKind::Preload) => {
            Some((Verdict::Prefetch, Confidence::Probable, "preload-network"))
        }
        _ => None,
    }
}

/// How long after sending a visit from a mail security vendor's network is taken for its scan with some sureness.
/// Later it may be a person in the vendor's isolated browser, or a scan at the time of the click.
const SCAN_MS: i64 = 600_000;

/// Networks. Microsoft and Google load images for readers from the ranges that also scan, so a provider's or a
/// data centre's network speaks on clicks only. Gateways and relays never speak: people's browsers leave there.
fn network(visit: &Visit) -> Option<Found> {
    let event = visit.event;
    match visit.network?.kind {
        NetworkKind::Scanner => Some((Verdict::Scanner, Confidence::Certain, "scanner-network")),
        NetworkKind::LikelyScanner => {
            let late =
                event.sent_at_ms != 0 && event.received_at_ms.saturating_sub(event.sent_at_ms) > SCAN_MS;
            let confidence = if late { Confidence::Weak } else { Confidence::Probable };
            Some((Verdict::Scanner, confidence, "security-network"))
        }
        NetworkKind::Mailbox if visit.follow => {
            Some((Verdict::Bot, Confidence::Probable, "provider-network"))
        }
        NetworkKind::DataCentre if visit.follow => Some((Verdict::Bot, Confidence::Probable, "data-centre")),
        _ => None,
    }
}

/// Agents that look like no browser. Links open in browsers; images are loaded by anything that shows mail, and
/// there only the robot's `(compatible; …)` and a missing agent speak.
fn shape(visit: &Visit) -> Option<Found> {
    match visit.role {
        Role::Compatible => Some((Verdict::Bot, Confidence::Probable, "compatible-agent")),
        // The agent was seen and may not be told: the edge has left the machines out.
        Role::Missing if visit.event.mode == Mode::Date => None,
        // An edge always tells the method. Without one the event is imported, from a history that kept no agents.
        Role::Missing if visit.event.method == Method::Unspecified => None,
        Role::Missing if visit.follow => Some((Verdict::Bot, Confidence::Probable, "no-agent")),
        Role::Missing => Some((Verdict::Bot, Confidence::Weak, "no-agent")),
        Role::Unshaped if visit.follow => Some((Verdict::Bot, Confidence::Probable, "not-a-browser")),
        Role::Unshaped => Some((Verdict::Bot, Confidence::Weak, "not-a-browser")),
        _ => None,
    }
}
