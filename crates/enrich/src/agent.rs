//! What a user agent says of itself: its role, its device, its client.

use std::sync::{Arc, LazyLock};

use aho_corasick::{AhoCorasick, MatchKind};
use quick_cache::unsync::Cache;

use crate::crowd;
use crate::device::{self, Device};

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
    /// Built on Apple's `CFNetwork` and not known as a mail client.
    NativeApp,
    /// Has no shape of a browser: people's links open in browsers.
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
    cache: Cache<Box<str>, Arc<Agent>>,
}

impl Agents {
    pub fn new() -> Agents {
        Agents { cache: Cache::new(REMEMBERED_AGENTS) }
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

/// Reads a user agent.
pub(crate) fn read(user_agent: &str) -> Agent {
    let text = user_agent.trim();
    if let Some(agent) = crowd::read(text) {
        return agent;
    }
    let words = words_in(text);
    let found = woothee::parser::Parser::new().parse(text);
    let role = role(text, words, found.as_ref());
    let device = match role {
        Role::Bare => Device::hidden("apple mail"),
        Role::GmailPrefetch => Device::hidden("gmail"),
        Role::ImageProxy | Role::Scanner | Role::Preview | Role::Bot | Role::Library => {
            Device::hidden(words.map_or("", |word| word.name))
        }
        Role::ListedCrawler | Role::Compatible | Role::Missing => Device::hidden(""),
        Role::Mail | Role::Phone => device::of(text, found.as_ref(), words),
        Role::NativeApp | Role::Unshaped | Role::Reader => device::of(text, found.as_ref(), None),
    };
    Agent { role, device }
}

fn role(text: &str, word: Option<&Word>, found: Option<&woothee::parser::WootheeResult>) -> Role {
    if text.is_empty() || text == "-" {
        return Role::Missing;
    }
    if text == "Mozilla/5.0" {
        return Role::Bare;
    }
    // SparkPost, "Gmail is prefetching images": the only agent that ends in this way.
    if text.ends_with("Edge/12.246 Mozilla/5.0") {
        return Role::GmailPrefetch;
    }
    // The words of phones are also in the agents of browsers that need no such word.
    if let Some(word) = word
        && word.role != Role::Phone
    {
        return word.role;
    }
    let category = found.map_or("", |found| found.category);
    if category == "crawler" {
        return Role::ListedCrawler;
    }
    let lower = text.to_ascii_lowercase();
    if lower.contains("cfnetwork/") {
        return Role::NativeApp;
    }
    // Googlebot's way to show a browser's agent and its own name.
    if lower.contains("like gecko; compatible;") {
        return Role::Compatible;
    }
    // Browsers that wrote "compatible" themselves: MSIE, Konqueror, and phones of the 2000s.
    if let Some(product) = lower.strip_prefix("mozilla/5.0 (compatible;") {
        let product = product.trim_start();
        let browser = ["msie", "konqueror", "teleca", "windows nt", "series"];
        if !browser.iter().any(|name| product.starts_with(name)) {
            return Role::Compatible;
        }
    }
    // woothee finds a computer's browser anywhere in the text, behind a robot's name as well.
    let known = matches!(category, "smartphone" | "mobilephone" | "appliance");
    let shaped = known || lower.starts_with("mozilla/") && lower.contains('(') || lower.starts_with("opera/");
    match word {
        _ if shaped => Role::Reader,
        Some(word) => word.role,
        None => Role::Unshaped,
    }
}

/// A row of `data/agents.tsv`.
#[derive(Debug)]
pub(crate) struct Word {
    role: Role,
    /// The place of its role in the file's order: the lowest decides.
    rank: u8,
    place: Anchor,
    /// The client's name; empty when the word is only a sign.
    pub name: &'static str,
    /// For a mail client or a phone: the device and system it runs on, when that is sure.
    pub hint: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Anchor {
    Any,
    Word,
    Start,
}

struct Words {
    matcher: AhoCorasick,
    rows: Vec<Word>,
}

static WORDS: LazyLock<Words> = LazyLock::new(|| {
    let lines =
        include_str!("../data/agents.tsv").lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let (tokens, rows): (Vec<&str>, Vec<Word>) = lines.map(row).unzip();
    let matcher = AhoCorasick::builder()
        .ascii_case_insensitive(true)
        .match_kind(MatchKind::LeftmostLongest)
        .build(tokens)
        .expect("the built-in table is small enough for an automaton");
    Words { matcher, rows }
});

/// Builds the table of words, so that no event waits for it.
pub(crate) fn prepare() {
    LazyLock::force(&WORDS);
}

fn row(line: &'static str) -> (&'static str, Word) {
    let mut columns = line.split('\t');
    let mut column = || columns.next().unwrap_or_default();
    let (role, place, token, name, hint) = (column(), column(), column(), column(), column());
    let (role, rank) = match role {
        "image-proxy" => (Role::ImageProxy, 0),
        "scanner" => (Role::Scanner, 1),
        "preview" => (Role::Preview, 2),
        "bot" => (Role::Bot, 3),
        "mail" => (Role::Mail, 4),
        "library" => (Role::Library, 5),
        "phone" => (Role::Phone, 6),
        "ignore" => (Role::Reader, IGNORED),
        _ => panic!("the agent table has no role {role:?}"),
    };
    let place = match place {
        "any" => Anchor::Any,
        "word" => Anchor::Word,
        "start" => Anchor::Start,
        _ => panic!("the agent table has no place {place:?}"),
    };
    (token, Word { role, rank, place, name, hint })
}

/// The rank of words that only keep shorter ones inside them from being seen.
const IGNORED: u8 = u8::MAX;

/// The word that decides, of those in `text`; of one role, the one with a name, then the one that comes first.
fn words_in(text: &str) -> Option<&'static Word> {
    let words: &'static Words = &WORDS;
    let mut best: Option<&'static Word> = None;
    for found in words.matcher.find_iter(text) {
        let word = &words.rows[found.pattern().as_usize()];
        let stands = match word.place {
            Anchor::Any => true,
            Anchor::Start => found.start() == 0,
            Anchor::Word => found.start() == 0 || !text.as_bytes()[found.start() - 1].is_ascii_alphanumeric(),
        };
        let key = |word: &Word| (word.rank, word.name.is_empty());
        if stands && word.rank != IGNORED && best.is_none_or(|best| key(word) < key(best)) {
            best = Some(word);
        }
    }
    best
}
