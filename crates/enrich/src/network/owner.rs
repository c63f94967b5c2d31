//! Who the lists' vendors are, and what being in their networks says.

use super::{Network, NetworkKind};

/// What each vendor of the lists is: vendor, its ASN where one vendor is several things (else any), kind, owner.
/// The first row that fits wins.
const OWNERS: [(&str, &str, NetworkKind, &str); 42] = {
    use NetworkKind::{AppleEgress, DataCentre, Gateway, LikelyScanner, Mailbox, Preload, Scanner};
    [
        ("microsoft-eop", "", Scanner, "microsoft-eop"),
        ("barracuda", "", Scanner, "barracuda"),
        ("proofpoint", "", LikelyScanner, "proofpoint"),
        ("mimecast", "", LikelyScanner, "mimecast"),
        ("cisco-ironport", "", LikelyScanner, "ironport"),
        ("trend-micro", "", LikelyScanner, "trend-micro"),
        ("trellix-fireeye", "", LikelyScanner, "trellix"),
        ("forcepoint", "", LikelyScanner, "forcepoint"),
        ("sophos", "", LikelyScanner, "sophos"),
        // Harmony Connect and SASE: people's browsers.
        ("check-point", "398391", Gateway, "check-point-sse"),
        ("check-point", "213176", Gateway, "check-point-sse"),
        ("check-point", "", LikelyScanner, "check-point"),
        ("hornetsecurity", "", LikelyScanner, "hornetsecurity"),
        ("cyren", "", LikelyScanner, "cyren"),
        ("abnormal", "", LikelyScanner, "abnormal"),
        ("retarus", "", LikelyScanner, "retarus"),
        ("bitdefender", "", LikelyScanner, "bitdefender"),
        ("kaspersky", "", LikelyScanner, "kaspersky"),
        ("trustwave", "", LikelyScanner, "trustwave"),
        ("zscaler", "", Gateway, "zscaler"),
        ("netskope", "", Gateway, "netskope"),
        ("cisco-opendns-umbrella", "", Gateway, "umbrella"),
        // Prisma Access, FortiSASE and the McAfee web gateway send people's browsers out of the vendor's network.
        ("palo-alto", "", Gateway, "palo-alto"),
        ("fortinet", "", Gateway, "fortinet"),
        ("mcafee", "", Gateway, "mcafee"),
        ("vpn", "", Gateway, "vpn"),
        ("proxy-apple", "", Gateway, "apple"),
        ("apple-egress", "", AppleEgress, "apple-egress"),
        // The networks that Apple's egress is in, where its list does not reach.
        ("relay-apple-egress", "", Gateway, "apple-relay"),
        ("proxy-proton", "62371", Preload, "proton"),
        ("proxy-proton", "", Gateway, "proton-vpn"),
        ("proxy-google", "", Mailbox, "google"),
        ("proxy-yahoo", "", Mailbox, "yahoo"),
        ("microsoft", "", Mailbox, "microsoft"),
        ("proxy-yandex", "", Mailbox, "yandex"),
        ("proxy-fastmail", "", Mailbox, "fastmail"),
        ("proxy-rambler", "", Mailbox, "rambler"),
        ("proxy-seznam", "", Mailbox, "seznam"),
        ("preview-facebook", "", DataCentre, "facebook"),
        ("preview-linkedin", "", DataCentre, "linkedin"),
        ("preview-telegram", "", DataCentre, "telegram"),
        ("data-centre", "", DataCentre, "data-centre"),
    ]
};

/// Mailboxes without an image proxy that is known, and previews seen from elsewhere: their networks say nothing of a
/// visit.
const SILENT: [&str; 3] = ["proxy-mailru-vk", "proxy-naver", "preview-twitter"];

/// Whether a vendor has a row, or is left out on purpose.
pub(crate) fn is_known(vendor: &str) -> bool {
    OWNERS.iter().any(|row| row.0 == vendor) || SILENT.contains(&vendor)
}

/// The network by its number.
pub(crate) fn network(index: u8) -> Network {
    let (_, _, kind, owner) = OWNERS[usize::from(index)];
    Network { kind, owner }
}

/// The number of a vendor's row; none for one that says nothing.
pub(crate) fn owner(vendor: &str, asn: &str) -> Option<u8> {
    let fits = |row: &(&str, &str, NetworkKind, &str)| row.0 == vendor && (row.1.is_empty() || row.1 == asn);
    OWNERS.iter().position(fits).map(|index| index as u8)
}
