//! How authors say that a link is not to be tracked, or how.

use super::survey::Anchor;

/// Our own attribute: `off`, `click` or `download`. It is taken out of the message again.
pub(super) const OWN_ATTRIBUTE: &str = "data-mailbeacon";

/// What an author wants of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// Not marked, or marked a click.
    Click,
    /// A file.
    Download,
    /// Leave it alone.
    Off,
}

/// Attributes that switch tracking off by being there, unless their value says no. From the documentation of
/// the senders that read them; a message often comes from a template that was written for another.
const OFF_WHEN_SET: [&str; 9] = [
    "disable-tracking",
    "data-disable-tracking",
    "mc:disable-tracking",
    "mautic:disable-tracking",
    "data-no-track",
    "data-pm-no-track",
    "data-ph-no-track",
    "ses:no-track",
    "no-track",
];

/// Attributes that switch tracking off by their value.
const OFF_WHEN_NO: [&str; 4] =
    ["clicktracking", "data-clicktracking", "data-msys-clicktrack", "click-tracking"];

const NO: [&str; 4] = ["off", "0", "false", "no"];

/// The mark of a link, or the value of our own attribute that cannot be understood.
pub(super) fn of(anchor: &Anchor) -> Result<Mark, String> {
    let mut mark = if anchor.has("download") { Mark::Download } else { Mark::Click };
    let mut foreign_off = false;
    let mut own = false;
    for (name, value) in &anchor.attributes {
        let word = value.trim().to_ascii_lowercase();
        let no = NO.contains(&word.as_str());
        foreign_off |= OFF_WHEN_SET.contains(&name.as_str()) && !no;
        foreign_off |= OFF_WHEN_NO.contains(&name.as_str()) && no;
        if name != OWN_ATTRIBUTE || own {
            continue;
        }
        own = true;
        mark = match word.as_str() {
            "off" => Mark::Off,
            "click" => Mark::Click,
            "download" => Mark::Download,
            _ => return Err(value.clone()),
        };
    }
    Ok(if foreign_off { Mark::Off } else { mark })
}

/// Whether a template's tag stands in a URL: it would be sealed as it is, and never be filled in.
pub(super) fn holds_template(href: &str) -> bool {
    const TAGS: [(&str, &str); 6] =
        [("{{", "}}"), ("{%", "%}"), ("*|", "|*"), ("%%", "%%"), ("[[", "]]"), ("<%", "")];
    TAGS.iter().any(|(open, close)| href.split_once(open).is_some_and(|(_, rest)| rest.contains(close)))
}
