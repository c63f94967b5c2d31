//! What goes wrong with messages in the wild, as far as it can be seen cheaply.

use url::Url;

use super::instrument::LinkReport;
use super::survey::Survey;
use crate::site::{Site, parse_path};
use crate::target;

/// Above this Gmail cuts a message's HTML off: 102 KiB by what senders have measured.
pub const GMAIL_CLIP_BYTES: usize = 102 << 10;

/// The most warnings of one message. A last one says that there were more.
pub const WARNINGS_MAX: usize = 100;

/// A usual link's URL stays below this. Gateways wrap links into their own URLs, and break at 2,048 bytes in all.
const USUAL_URL_BYTES_MAX: usize = 512;
/// With fewer characters than this to read, a message with images is an image.
const TEXT_CHARS_MIN: usize = 30;
/// Words in a host name for which filter lists block it.
const BLOCKED_WORDS: [&str; 5] = ["track", "click", "pixel", "analytic", "beacon"];

/// A bounded list of sentences.
#[derive(Default)]
pub(super) struct Warnings {
    list: Vec<String>,
    dropped: usize,
}

impl Warnings {
    pub fn push(&mut self, warning: String) {
        if self.list.len() < WARNINGS_MAX - 1 { self.list.push(warning) } else { self.dropped += 1 }
    }

    pub fn into_list(mut self) -> Vec<String> {
        if self.dropped > 0 {
            self.list.push(format!("{} more warnings are left out", self.dropped));
        }
        self.list
    }
}

/// What can be said of the message and the site as such.
pub(super) fn survey(survey: &Survey, site: &Site, warnings: &mut Warnings) {
    if !site.is_https() {
        warnings.push("the site is not https: mail clients and browsers warn of its links".into());
    }
    if let Some(word) = BLOCKED_WORDS.iter().find(|word| site.host().contains(*word)) {
        warnings.push(format!("the site's host holds {word:?}: filter lists block such names"));
    }
    if survey.body_start.is_none() {
        warnings.push("message has no <body>: its pixels stand at the very start and end".into());
    }
    if survey.text_chars < TEXT_CHARS_MIN && !survey.images.is_empty() {
        warnings.push("message has images and next to no text: filters take that for spam".into());
    }
    if survey.conditional_links > 0 {
        let count = survey.conditional_links;
        warnings.push(format!("links in {count} conditional comments are left as they are, and not tracked"));
    }
    let pixel =
        |source: &String| site.holds(source) && source.parse::<Url>().is_ok_and(|url| is_tracked(&url));
    if survey.images.iter().any(pixel) {
        warnings.push("message has a pixel of this site already: opens would count twice".into());
    }
}

/// What can be said of a link that was rewritten.
pub(super) fn link(link: &LinkReport, text: &str, site: &Site, warnings: &mut Warnings) {
    let LinkReport { number, target: to, url, .. } = link;
    if url.len() > USUAL_URL_BYTES_MAX {
        warnings.push(format!(
            "link {number}: its URL has {} bytes: above {USUAL_URL_BYTES_MAX} gateways that wrap links may break it",
            url.len()
        ));
    }
    let lower = [to.as_str(), text].join(" ").to_ascii_lowercase();
    if lower.contains("unsubscribe") {
        warnings.push(format!(
            "link {number} looks like an unsubscribe link and is tracked: mark it data-mailbeacon=\"off\" if that \
             is not wanted"
        ));
    }
    let Some(shown) = shown_host(text) else { return };
    let Some(host) = Url::parse(to).ok().and_then(|url| url.host_str().map(str::to_owned)) else { return };
    if !related(&shown, &host) {
        let goes = target::start(to);
        warnings
            .push(format!("link {number} shows {shown} but goes to {goes}: clients take that for phishing"));
    } else if !related(&shown, site.host()) {
        warnings.push(format!(
            "link {number} shows {shown} as its text while its URL is now at {}: some filters take that for \
             phishing; use words as its text, or a site below the same domain",
            site.host()
        ));
    }
}

/// What can be said of the finished message.
pub(super) fn size(bytes: usize, warnings: &mut Warnings) {
    if bytes > GMAIL_CLIP_BYTES {
        warnings.push(format!(
            "message has {bytes} bytes: above {GMAIL_CLIP_BYTES} Gmail cuts it off, and its bottom pixel is not seen"
        ));
    }
}

fn is_tracked(url: &Url) -> bool {
    parse_path(url.path().as_bytes()).is_some()
}

/// The host that a link's text claims, if the text is an address.
fn shown_host(text: &str) -> Option<String> {
    let text = text.trim();
    if text.is_empty() || text.contains(|character: char| character.is_whitespace() || character == '@') {
        return None;
    }
    let lower = text.to_lowercase();
    let host = match lower.split_once("://") {
        Some((_, rest)) => rest,
        None => &lower,
    };
    let host = &host[..host.find(['/', '?', '#', ':']).unwrap_or(host.len())];
    let last = host.rsplit_once('.')?.1;
    // "Mr.Smith" and "v1.2" are no hosts; a real one ends in a top level domain, of letters.
    let plausible = last.len() >= 2 && last.chars().all(char::is_alphabetic);
    let typed_as_one = lower.contains("://") || host.starts_with("www.") || TOP_LEVEL.contains(&last);
    (plausible && typed_as_one).then(|| host.strip_prefix("www.").unwrap_or(host).to_owned())
}

/// Top level domains that make a bare `name.tld` read as an address. Not all: a file name must not.
const TOP_LEVEL: [&str; 15] =
    ["com", "org", "net", "edu", "gov", "io", "eu", "uk", "de", "fr", "ch", "at", "nl", "example", "test"];

/// Whether two hosts are under one domain, as far as that can be told by their last two labels.
fn related(one: &str, other: &str) -> bool {
    let tail = |host: &str| {
        let mut labels = host.trim_end_matches('.').rsplit('.');
        (labels.next().unwrap_or_default().to_lowercase(), labels.next().unwrap_or_default().to_lowercase())
    };
    tail(one) == tail(other)
}
