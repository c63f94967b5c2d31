//! Which recipients no send time may be computed for.

use event::Region;

/// What one event says of the recipient's place, as far as the rule for send times asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RegionClass {
    /// Nothing is known: no send time, as for [`RegionClass::Eu`].
    #[default]
    Unknown,
    /// The EU, the EEA or the UK.
    Eu,
    /// Somewhere else.
    Other,
}

impl RegionClass {
    /// The class as it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            RegionClass::Unknown => "unknown",
            RegionClass::Eu => "eu",
            RegionClass::Other => "other",
        }
    }

    /// The class of a country by its ISO code; unknown for an empty one.
    pub fn of_country(country: &str) -> RegionClass {
        match country {
            "" => RegionClass::Unknown,
            country if is_eu_eea_uk(country) => RegionClass::Eu,
            _ => RegionClass::Other,
        }
    }

    /// Whether a send time may be computed. Not knowing is no permission.
    pub fn allows_send_times(self) -> bool {
        self == RegionClass::Other
    }

    /// Two statements about one recipient: `Eu` if either says so, and `Other` only if nothing says `Eu`.
    #[must_use]
    pub fn and(self, also: RegionClass) -> RegionClass {
        match (self, also) {
            (RegionClass::Eu, _) | (_, RegionClass::Eu) => RegionClass::Eu,
            (RegionClass::Other, _) | (_, RegionClass::Other) => RegionClass::Other,
            _ => RegionClass::Unknown,
        }
    }
}

impl From<Region> for RegionClass {
    fn from(claim: Region) -> RegionClass {
        match claim {
            Region::Unspecified => RegionClass::Unknown,
            Region::Eu => RegionClass::Eu,
            Region::Other => RegionClass::Other,
        }
    }
}

/// What one event, or a profile, says of where a recipient is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Evidence {
    /// When, in Unix milliseconds.
    pub at_ms: i64,
    /// What the link's token claims.
    pub claim: Region,
    /// What the visitor's place says, which is nothing unless it can be trusted so far.
    pub place: RegionClass,
    /// What the sender's profile of the recipient says.
    pub profile: RegionClass,
}

impl Evidence {
    /// The three together.
    pub fn says(&self) -> RegionClass {
        self.place.and(self.profile).and(self.claim.into())
    }
}

/// For how many days a sign stands, in milliseconds: a year of seasonal mail, and some.
const SIGN_STANDS_MS: i64 = 400 * 86_400_000;

/// Where a recipient is at an instant, as far as a send time is concerned: the whole rule. One sign of the EU, the EEA
/// or the UK in 400 days makes it `Eu`, however many later signs there are of another place; one of another place and
/// none of these makes it `Other`; else it is unknown. Only [`RegionClass::allows_send_times`] is a permission.
///
/// The order and the number of times in which evidence comes change nothing, and what lies ahead of `at_ms`, by a clock
/// that is ahead, counts like what is just seen. `recipient_regions` in the store is the same rule in SQL.
pub fn region_at(evidence: impl IntoIterator<Item = Evidence>, at_ms: i64) -> RegionClass {
    let stands = |sign: &Evidence| sign.at_ms > at_ms.saturating_sub(SIGN_STANDS_MS);
    let signs = evidence.into_iter().filter(stands);
    signs.fold(RegionClass::Unknown, |so_far, sign| so_far.and(sign.says()))
}

/// Whether a country, by its ISO 3166-1 alpha-2 code in upper case, is one that no send time is computed for: the
/// EU-27, the EU's territories with a code of their own, the EEA, the UK, and those close to them.
///
/// Where the law is not plain the country is blocked: a send time that is missing costs little, one too many breaks a
/// promise. Svalbard and Jan Mayen are Norway but not in the EEA agreement. Gibraltar has the UK's GDPR in its own law;
/// the Isle of Man, Jersey and Guernsey, of which the UK is in charge, have laws modelled on it. The overseas
/// territories that keep laws of their own, such as Greenland, French Polynesia or Bermuda, are not blocked.
pub fn is_eu_eea_uk(country: &str) -> bool {
    match country {
        // EU-27
        "AT" | "BE" | "BG" | "HR" | "CY" | "CZ" | "DK" | "EE" | "FI" | "FR" | "DE" | "GR" | "HU" | "IE" => {
            true
        }
        "IT" | "LV" | "LT" | "LU" | "MT" | "NL" | "PL" | "PT" | "RO" | "SK" | "SI" | "ES" | "SE" => true,
        // outermost regions (Treaty on the Functioning of the EU, article 349) and Aland
        "GF" | "GP" | "MQ" | "RE" | "YT" | "MF" | "AX" => true,
        // EEA
        "IS" | "LI" | "NO" => true,
        // of Norway
        "SJ" => true,
        // the UK's law, or one modelled on it
        "GB" | "GI" | "IM" | "JE" | "GG" => true,
        _ => false,
    }
}

/// Whether a time zone's clock is one of those countries', by its IANA name or one of its old names. A sender who
/// knows a recipient's zone and not the country has said enough.
pub fn is_eu_eea_uk_zone(zone: &str) -> bool {
    ZONES.iter().any(|known| known.eq_ignore_ascii_case(zone))
}

/// From `zone.tab` and the links of tzdata 2025b (public domain), for the countries of [`is_eu_eea_uk`].
#[rustfmt::skip]
const ZONES: [&str; 62] = [
    "Africa/Ceuta", "America/Cayenne", "America/Guadeloupe", "America/Marigot", "America/Martinique",
    "Arctic/Longyearbyen", "Asia/Famagusta", "Asia/Nicosia", "Atlantic/Azores", "Atlantic/Canary",
    "Atlantic/Jan_Mayen", "Atlantic/Madeira", "Atlantic/Reykjavik", "CET", "EET", "Eire", "Europe/Amsterdam",
    "Europe/Athens", "Europe/Belfast", "Europe/Berlin", "Europe/Bratislava", "Europe/Brussels",
    "Europe/Bucharest", "Europe/Budapest", "Europe/Busingen", "Europe/Copenhagen", "Europe/Dublin",
    "Europe/Gibraltar", "Europe/Guernsey", "Europe/Helsinki", "Europe/Isle_of_Man", "Europe/Jersey",
    "Europe/Lisbon", "Europe/Ljubljana", "Europe/London", "Europe/Luxembourg", "Europe/Madrid", "Europe/Malta",
    "Europe/Mariehamn", "Europe/Nicosia", "Europe/Oslo", "Europe/Paris", "Europe/Prague", "Europe/Riga",
    "Europe/Rome", "Europe/Sofia", "Europe/Stockholm", "Europe/Tallinn", "Europe/Vaduz", "Europe/Vienna",
    "Europe/Vilnius", "Europe/Warsaw", "Europe/Zagreb", "GB", "GB-Eire", "Iceland", "Indian/Mayotte",
    "Indian/Reunion", "MET", "Poland", "Portugal", "WET",
];
