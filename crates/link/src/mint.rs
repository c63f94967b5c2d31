//! What a tracked URL says, and what may be said in one.

use event::{Kind, Mode, Position, Region};

use crate::target::{self, TargetProblem};

/// Everything that the edge must know of a hit, so that it never has to look anything up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Open, click or download.
    pub kind: Kind,
    /// The sender's workspace.
    pub workspace: u32,
    /// The message's number: see [`Keys::message`](crate::Keys::message).
    pub message: u64,
    /// The recipient's key: see [`Keys::recipient`](crate::Keys::recipient). 0 when it may not be known: so it is
    /// sealed in a mode that does not [name](names_recipient) one.
    pub recipient: u64,
    /// The link's number in the message, from 1 in document order; 0 for an open.
    pub link: u32,
    /// Where a click or download goes: an absolute http or https URL. Empty for an open.
    pub target: String,
    /// When the message was sent, Unix milliseconds, of which whole seconds are kept. 0 when unknown.
    pub sent_at_ms: i64,
    /// Where in the message the pixel stands.
    pub position: Position,
    /// How much may be recorded.
    pub mode: Mode,
    /// What the sender says of the recipient's place.
    pub region: Region,
    /// A link that no person sees: whoever follows it is a machine.
    pub trap: bool,
}

impl Default for Link {
    /// An open of nothing: for struct updates.
    fn default() -> Self {
        Link {
            kind: Kind::Open,
            workspace: 0,
            message: 0,
            recipient: 0,
            link: 0,
            target: String::new(),
            sent_at_ms: 0,
            position: Position::Unspecified,
            mode: Mode::Unspecified,
            region: Region::Unspecified,
            trap: false,
        }
    }
}

/// Why a link cannot become a URL. A target is the sender's own input and is shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MintError {
    /// Only hits have URLs.
    #[error("kind {found} has no URL, expected open, click or download")]
    Kind {
        /// The kind that was asked for.
        found: &'static str,
    },
    /// The target is missing or may not be followed.
    #[error("link {link}: target {target:?} {problem}")]
    Target {
        /// The link's number.
        link: u32,
        /// The target as given, its start when it is very long.
        target: String,
        /// What is wrong, and what was expected.
        problem: TargetProblem,
    },
    /// An open goes nowhere.
    #[error("an open has target {target:?}, expected none")]
    OpenTarget {
        /// The target as given, its start when it is very long.
        target: String,
    },
    /// A time before 1970.
    #[error("link {link}: sent_at_ms is {sent_at_ms}, expected 0 or Unix time in milliseconds")]
    SentAt {
        /// The link's number.
        link: u32,
        /// The time as given.
        sent_at_ms: i64,
    },
    /// The URL would not survive mail clients and gateways.
    #[error(
        "link {link}: its {what} has {bytes} bytes, at most {bytes_max} survive mail clients: shorten the target \
         of {target_bytes} bytes"
    )]
    TooLong {
        /// The link's number.
        link: u32,
        /// `token` or `URL`.
        what: &'static str,
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        bytes_max: usize,
        /// How long the target is.
        target_bytes: usize,
    },
}

/// Whether a link of this mode says whose it is. Of the modes `anonymous` and `off` it never does, whatever it was
/// given: nothing may be recorded by the recipient, and a token may end up in a log beside a time, and a key in other
/// hands.
pub fn names_recipient(mode: Mode) -> bool {
    !matches!(mode, Mode::Anonymous | Mode::Off)
}

impl Link {
    /// The link as it is sealed, with its target as a redirect writes it, and no recipient that its mode may not name.
    pub(crate) fn checked(&self) -> Result<Link, MintError> {
        match self.kind {
            Kind::Open | Kind::Click | Kind::Download => {}
            Kind::Sent => return Err(MintError::Kind { found: "sent" }),
            Kind::Unspecified => return Err(MintError::Kind { found: "unspecified" }),
        }
        if self.sent_at_ms < 0 {
            return Err(MintError::SentAt { link: self.link, sent_at_ms: self.sent_at_ms });
        }
        let target = match self.kind {
            Kind::Open if self.target.is_empty() => String::new(),
            Kind::Open => return Err(MintError::OpenTarget { target: target::start(&self.target) }),
            _ => target::location(&self.target).map_err(|problem| MintError::Target {
                link: self.link,
                target: target::start(&self.target),
                problem,
            })?,
        };
        let recipient = if names_recipient(self.mode) { self.recipient } else { 0 };
        Ok(Link { target, recipient, sent_at_ms: self.sent_at_ms / 1_000 * 1_000, ..self.clone() })
    }
}
