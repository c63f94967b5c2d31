//! What becomes of each link, where the pixels go, and the message that comes out.

use std::ops::Range;

use event::{Kind, Mode, Position, Region};
use lol_html::errors::RewritingError;

use super::lint::Warnings;
use super::marks::{self, Mark};
use super::survey::{Anchor, Survey};
use super::{lint, utm};
use crate::keys::Keys;
use crate::mint::{Link, MintError};
use crate::site::Site;
use crate::target;

/// The largest message by default, in bytes. Mail clients show a tenth of it.
pub const MESSAGE_BYTES_MAX: usize = 2 << 20;

/// The most links of one message. Common providers draw the line here too.
pub const LINKS_MAX: usize = 1_000;

/// Whose message it is, and what is asked for.
#[derive(Debug, Clone)]
pub struct MessageSpec {
    /// The sender's workspace.
    pub workspace: u32,
    /// The message's number: see [`Keys::message`].
    pub message: u64,
    /// The recipient's key: see [`Keys::recipient`]. Left out of every token unless the mode may know it.
    pub recipient: u64,
    /// When the message is sent, Unix milliseconds; 0 when unknown.
    pub sent_at_ms: i64,
    /// How much may be recorded. `Off` puts in no pixel and rewrites no link, `Date` rewrites no link.
    pub mode: Mode,
    /// What the sender says of the recipient's place.
    pub region: Region,
    /// Whether to put in pixels.
    pub opens: bool,
    /// Whether to rewrite links.
    pub clicks: bool,
    /// Where a hidden link goes that only machines follow; none without.
    pub trap: Option<String>,
    /// Query parameters (`utm_source`, …) to add to each http link that is not marked off, whether it is rewritten
    /// or not. A parameter that the link has already is not touched.
    pub utm: Vec<(String, String)>,
    /// The largest message that is looked at, in bytes.
    pub bytes_max: usize,
}

impl Default for MessageSpec {
    fn default() -> Self {
        MessageSpec {
            workspace: 0,
            message: 0,
            recipient: 0,
            sent_at_ms: 0,
            mode: Mode::Full,
            region: Region::Unspecified,
            opens: true,
            clicks: true,
            trap: None,
            utm: Vec::new(),
            bytes_max: MESSAGE_BYTES_MAX,
        }
    }
}

/// A tracked message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instrumented {
    /// The message's HTML with its links rewritten and its pixels in place.
    pub html: String,
    /// The rewritten links, in document order; the trap, if any, is the last.
    pub links: Vec<LinkReport>,
    /// What may go wrong in the wild, in sentences for the message's author.
    pub warnings: Vec<String>,
}

/// What became of one link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkReport {
    /// From 1, in document order, of those that are rewritten.
    pub number: u32,
    /// Click or download.
    pub kind: Kind,
    /// Where it goes, as the redirect will say: see [`location`](crate::location).
    pub target: String,
    /// What stands in the message now.
    pub url: String,
}

/// Why a message cannot be instrumented. Nothing was done then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InstrumentError {
    /// Too large.
    #[error("message has {bytes} bytes, expected at most {bytes_max}")]
    Size {
        /// The message's length.
        bytes: usize,
        /// [`MessageSpec::bytes_max`].
        bytes_max: usize,
    },
    /// The parser cannot be sure how browsers read it.
    #[error("message {problem}")]
    Html {
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Too many links.
    #[error(
        "message has more than {LINKS_MAX} links to track, expected fewer: mark some data-mailbeacon=\"off\""
    )]
    Links,
    /// An unknown word in our own attribute.
    #[error("link {link} ({href:?}): data-mailbeacon is {value:?}, expected off, click or download")]
    Mark {
        /// The number that the link would have.
        link: u32,
        /// Where it goes, its start when that is very long.
        href: String,
        /// The value found.
        value: String,
    },
    /// A parameter without a name.
    #[error("utm parameter {at} has no name, expected one such as utm_source")]
    UtmName {
        /// Which one, from 0.
        at: usize,
    },
    /// The trap's target cannot be used.
    #[error("trap: {0}")]
    Trap(MintError),
    /// A link's target cannot be used.
    #[error("{0}; mark the link data-mailbeacon=\"off\" to leave it as it is")]
    Link(MintError),
    /// The message's own fields cannot be minted.
    #[error("message: {0}")]
    Message(MintError),
}

/// Rewrites a message's links, puts in its pixels and looks for what breaks in the wild.
///
/// `a` and `area` with an http or https `href` become clicks, or downloads if they have the attribute `download`
/// or `data-mailbeacon="download"`. Everything else is left alone: other schemes, anchors, template tags, links
/// that lead to `site` already, and links that are marked in one of the usual ways (see `marks.rs`).
///
/// # Errors
/// When the message or one of its links cannot be used; the link's number is named.
pub fn instrument(
    html: &str,
    keys: &Keys,
    site: &Site,
    message: &MessageSpec,
) -> Result<Instrumented, InstrumentError> {
    if html.len() > message.bytes_max {
        return Err(InstrumentError::Size { bytes: html.len(), bytes_max: message.bytes_max });
    }
    if let Some(at) = message.utm.iter().position(|(name, _)| name.is_empty()) {
        return Err(InstrumentError::UtmName { at });
    }
    let survey = Survey::of(html).map_err(|error| InstrumentError::Html { problem: unreadable(&error) })?;
    let mut work =
        Work { keys, site, message, edits: Vec::new(), links: Vec::new(), warnings: Warnings::default() };
    lint::survey(&survey, site, &mut work.warnings);
    for anchor in &survey.anchors {
        work.anchor(anchor)?;
    }
    work.additions(&survey, html.len())?;
    let html = splice(html, work.edits);
    lint::size(html.len(), &mut work.warnings);
    Ok(Instrumented { html, links: work.links, warnings: work.warnings.into_list() })
}

fn unreadable(error: &RewritingError) -> &'static str {
    match error {
        RewritingError::MemoryLimitExceeded(_) => {
            "nests elements too deeply, expected some thousands at most"
        }
        _ => {
            "can be read in two ways, expected no <xmp>, <style>, <script> or the like within <select> or <table>"
        }
    }
}

/// What an `href` is to us.
enum Href {
    /// An http or https URL that is not the site's own.
    Web,
    /// Something that a link may well be, and that is not ours to change.
    Other,
    /// Left alone, with a word to the author.
    Doubtful(&'static str),
}

struct Work<'a> {
    keys: &'a Keys,
    site: &'a Site,
    message: &'a MessageSpec,
    /// What to put in place of which bytes of the source.
    edits: Vec<(Range<usize>, String)>,
    links: Vec<LinkReport>,
    warnings: Warnings,
}

impl Work<'_> {
    fn anchor(&mut self, anchor: &Anchor) -> Result<(), InstrumentError> {
        let number = self.next_number();
        let mark = marks::of(anchor).map_err(|value| InstrumentError::Mark {
            link: number,
            href: target::start(anchor.href.as_ref().map_or("", |href| &href.value)),
            value,
        })?;
        self.edits.extend(anchor.own_attributes.iter().map(|range| (range.clone(), String::new())));
        let Some(href) = &anchor.href else { return Ok(()) };
        match classify(&href.value, self.site) {
            _ if mark == Mark::Off => return Ok(()),
            Href::Web => {}
            Href::Other => return Ok(()),
            Href::Doubtful(why) => {
                self.warnings
                    .push(format!("link to {:?} is left as it is: {why}", target::start(&href.value)));
                return Ok(());
            }
        }
        let target = utm::add(&href.value, &self.message.utm);
        if !self.rewrites_links() {
            if target != href.value {
                self.edits.push((href.range.clone(), href.written(&target)));
            }
            return Ok(());
        }
        let kind = if mark == Mark::Download { Kind::Download } else { Kind::Click };
        let report = self.link(kind, target, false)?;
        lint::link(&report, &anchor.text, self.site, &mut self.warnings);
        self.edits.push((href.range.clone(), href.written(&report.url)));
        self.links.push(report);
        Ok(())
    }

    /// The pixels and the trap.
    fn additions(&mut self, survey: &Survey, end: usize) -> Result<(), InstrumentError> {
        let top = survey.body_start.unwrap_or(survey.doctype_end);
        let bottom = survey.body_end.unwrap_or(end);
        let opens = self.message.opens && self.message.mode != Mode::Off;
        if opens {
            self.edits.push((top..top, self.pixel(Position::Top)?));
        }
        if let (Some(target), true) = (&self.message.trap, self.rewrites_links()) {
            let report = self.link(Kind::Click, target.clone(), true).map_err(|error| match error {
                InstrumentError::Link(error) => InstrumentError::Trap(error),
                other => other,
            })?;
            self.edits.push((bottom..bottom, trap(&report.url)));
            self.links.push(report);
        }
        if opens {
            self.edits.push((bottom..bottom, self.pixel(Position::Bottom)?));
        }
        Ok(())
    }

    fn link(&self, kind: Kind, target: String, trap: bool) -> Result<LinkReport, InstrumentError> {
        if self.links.len() == LINKS_MAX {
            return Err(InstrumentError::Links);
        }
        let number = self.next_number();
        let link = Link { kind, link: number, target, trap, ..self.blank() };
        // Checked first, to report the target as the redirect and the event will have it.
        let minted = link.checked().and_then(|link| Ok((self.site.url(self.keys, &link)?, link.target)));
        let (url, target) = minted.map_err(|error| match error {
            MintError::Target { .. } | MintError::TooLong { .. } => InstrumentError::Link(error),
            other => InstrumentError::Message(other),
        })?;
        Ok(LinkReport { number, kind, target, url })
    }

    fn pixel(&self, position: Position) -> Result<String, InstrumentError> {
        let open = Link { kind: Kind::Open, position, ..self.blank() };
        let url = self.site.url(self.keys, &open).map_err(InstrumentError::Message)?;
        // No `display:none`: clients do not load what they do not show.
        Ok(format!(
            "<img src=\"{url}\" width=\"1\" height=\"1\" alt=\"\" border=\"0\" style=\"display:block;\
             height:1px!important;width:1px!important;border:0!important;margin:0!important;padding:0!important\">"
        ))
    }

    /// What all tokens of the message have in common.
    fn blank(&self) -> Link {
        Link {
            workspace: self.message.workspace,
            message: self.message.message,
            recipient: self.message.recipient,
            sent_at_ms: self.message.sent_at_ms,
            mode: self.message.mode,
            region: self.message.region,
            ..Link::default()
        }
    }

    fn rewrites_links(&self) -> bool {
        self.message.clicks && !matches!(self.message.mode, Mode::Off | Mode::Date)
    }

    fn next_number(&self) -> u32 {
        self.links.len() as u32 + 1
    }
}

fn trap(url: &str) -> String {
    // No text: nothing to see, to read aloud, or to find in the message's plain form.
    format!(
        "<div style=\"display:none;max-height:0;overflow:hidden;mso-hide:all\" aria-hidden=\"true\">\
         <a href=\"{url}\" rel=\"nofollow\" tabindex=\"-1\"></a></div>"
    )
}

fn classify(href: &str, site: &Site) -> Href {
    if marks::holds_template(href) {
        return Href::Doubtful("it holds a template tag, which should be filled in first");
    }
    if href.is_empty() || href.starts_with('#') {
        return Href::Other;
    }
    let end = href.find([':', '/', '?', '#', '\\']).unwrap_or(href.len());
    if !href[end..].starts_with(':') {
        return Href::Doubtful("it is relative, and a mail has no address to be relative to");
    }
    let web = href[..end].eq_ignore_ascii_case("http") || href[..end].eq_ignore_ascii_case("https");
    if web && !site.holds(href) { Href::Web } else { Href::Other }
}

/// Applies the edits, of which those at one place stay in the order in which they were made.
fn splice(source: &str, mut edits: Vec<(Range<usize>, String)>) -> String {
    edits.sort_by_key(|(range, _)| range.start);
    let added: usize = edits.iter().map(|(_, text)| text.len()).sum();
    let mut out = String::with_capacity(source.len() + added);
    let mut at = 0;
    for (range, text) in edits {
        out.push_str(&source[at..range.start]);
        out.push_str(&text);
        at = range.end;
    }
    out.push_str(&source[at..]);
    out
}
