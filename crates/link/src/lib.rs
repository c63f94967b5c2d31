//! Links: the token in a tracked URL, where a click may go, and a message's HTML turned into a tracked one.
//!
//! Owns the format of tokens and their keys, the hashes that stand for recipients, messages and mail domains,
//! the paths of the edge, and the rules of instrumentation. Does no I/O and reads no clock; a key file comes in
//! as text. Never sends a click anywhere that was not sealed into its token.

mod html;
mod key_file;
mod keys;
mod mint;
mod payload;
mod site;
mod target;
mod token;

pub use html::{
    GMAIL_CLIP_BYTES, InstrumentError, Instrumented, LINKS_MAX, LinkReport, MESSAGE_BYTES_MAX, MessageSpec,
    WARNINGS_MAX, instrument,
};
pub use key_file::KeysError;
pub use keys::Keys;
pub use mint::{Link, MintError};
pub use site::{PATHS, Site, SiteError, URL_BYTES_MAX, parse_path};
pub use target::{TargetProblem, location};
pub use token::{TOKEN_BYTES_MAX, TokenError};
