//! What a user agent says of itself: its role, its device, its client.

mod shape;
mod words;

use std::sync::Arc;

use foldhash::fast::RandomState;
use quick_cache::UnitWeighter;
use quick_cache::unsync::{Cache, DefaultLifecycle};
use woothee::parser::WootheeResult;

use crate::crowd;
use crate::device::{self, Device};
pub(crate) use shape::android_model;
pub(crate) use words::Word;

/// How many different user agents one enricher remembers. Each takes at most about 1 KB: the text, which the
/// contract bounds at 512 bytes, and what was found.
const REMEMBERED_AGENTS: usize = 8_192;

/// What kind of program a user agent names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Exactly `Mozilla/5.0`: Apple's Mail Privacy Protection on an open.
    Bare,
    /// Gmail's prefetch: loaded when the mail arrived, not when it was read.
    GmailPrefetch,
    /// A mailbox provider's image proxy, acting for a reader.
    ImageProxy,
    /// A mail scanner or link checker that names itself.
    Scanner,
    /// A link preview.
    Preview,
    /// Any other robot that names itself.
    Bot,
    /// An HTTP library or tool.
    Library,
    /// A mail client.
    Mail,
    /// A phone's browser that does not begin with `Mozilla`.
    Phone,
    /// woothee's list knows it as a crawler.
    ListedCrawler,
    /// `Mozilla/5.0 (compatible; something)` where the something is no browser.
    Compatible,
    /// No browser, but it names the system or the device that it runs on, as people's own programs do.
    NativeApp,
    /// No browser, and no system or device is named.
    Unshaped,
    /// No user agent at all.
    Missing,
    /// A browser, or a mail client that looks like one.
    Reader,
}

/// A user agent, read once and remembered.
#[derive(Debug, PartialEq)]
pub(crate) struct Agent {
    pub role: Role,
    pub device: Device,
}

/// Remembers what was found for each user agent: 27 ns against some 3 µs.
pub(crate) struct Agents {
    /// Seeded at random, like the standard library's hasher, and a tenth of its cost over an agent's length.
    cache: Cache<Box<str>, Arc<Agent>, UnitWeighter, RandomState>,
}

impl Agents {
    pub fn new() -> Agents {
        let hasher = RandomState::default();
        let (items, weight) = (REMEMBERED_AGENTS, REMEMBERED_AGENTS as u64);
        Agents { cache: Cache::with(items, weight, UnitWeighter, hasher, DefaultLifecycle::default()) }
    }

    /// What `user_agent` says.
    pub fn find(&mut self, user_agent: &str) -> Arc<Agent> {
        if let Some(agent) = self.cache.get(user_agent) {
            return Arc::clone(agent);
        }
        let agent = Arc::new(read(user_agent));
        self.cache.insert(user_agent.into(), Arc::clone(&agent));
        agent
    }
}

/// Builds the tables of words and models, so that no event waits for them.
pub(crate) fn prepare() {
    words::prepare();
    device::prepare();
}

/// Reads a user agent.
pub(crate) fn read(user_agent: &str) -> Agent {
    let text = user_agent.trim();
    if let Some(agent) = crowd::read(text) {
        return agent;
    }
    let lower = text.to_ascii_lowercase();
    let word = words::deciding(&lower);
    let found = woothee::parser::Parser::new().parse(text);
    let role = role(text, &lower, word, found.as_ref());
    let device = match role {
        Role::Bare => Device::hidden("apple mail"),
        Role::GmailPrefetch => Device::hidden("gmail"),
        Role::ImageProxy | Role::Scanner | Role::Preview | Role::Bot | Role::Library => {
            Device::hidden(word.filter(|word| word.role == role).map_or("", |word| word.name))
        }
        Role::ListedCrawler | Role::Compatible | Role::Missing => Device::hidden(""),
        Role::Mail | Role::Phone => device::of(&lower, found.as_ref(), word),
        Role::NativeApp | Role::Unshaped | Role::Reader => device::of(&lower, found.as_ref(), None),
    };
    Agent { role, device }
}

/// The role of an agent: what it calls itself, then what its shape shows. `lower` is `text` in lower case.
fn role(text: &str, lower: &str, word: Option<&Word>, found: Option<&WootheeResult>) -> Role {
    if text.is_empty() || text == "-" {
        return Role::Missing;
    }
    if text == "Mozilla/5.0" {
        return Role::Bare;
    }
    // SparkPost, "Gmail is prefetching images": the only agent that ends in this way.
    if lower.ends_with("edge/12.246 mozilla/5.0") {
        return Role::GmailPrefetch;
    }
    // The words of phones are also in the agents of browsers that need no such word.
    if let Some(word) = word
        && word.role != Role::Phone
    {
        return word.role;
    }
    if shape::names_site(lower) {
        return Role::Bot;
    }
    let category = found.map_or("", |found| found.category);
    if category == "crawler" {
        return Role::ListedCrawler;
    }
    if shape::is_compatible(lower) {
        return Role::Compatible;
    }
    if let Some(word) = word {
        return word.role;
    }
    if shape::hides_behind_browser(lower) {
        return Role::Unshaped;
    }
    let names_platform = shape::names_platform(lower);
    // woothee finds a computer's browser anywhere in the text, behind a robot's name as well.
    let known = matches!(category, "smartphone" | "mobilephone" | "appliance");
    let shaped = lower.starts_with("mozilla/") && lower.contains('(') || lower.starts_with("opera/");
    match () {
        () if lower.contains("cfnetwork/") => Role::NativeApp,
        () if known || shaped && names_platform => Role::Reader,
        () if names_platform || shape::names_mail(lower) => Role::NativeApp,
        () => Role::Unshaped,
    }
}
