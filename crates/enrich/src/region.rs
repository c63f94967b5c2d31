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

/// Whether a country, by its ISO 3166-1 alpha-2 code in upper case, is one that no send time is computed for: the
/// EU-27, the EU's territories with a code of their own, the EEA, the UK, Gibraltar and the Crown Dependencies.
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
const ZONES: [&str; 60] = [
    "Africa/Ceuta", "America/Cayenne", "America/Guadeloupe", "America/Marigot", "America/Martinique",
    "Asia/Famagusta", "Asia/Nicosia", "Atlantic/Azores", "Atlantic/Canary",
    "Atlantic/Madeira", "Atlantic/Reykjavik", "CET", "EET", "Eire", "Europe/Amsterdam",
    "Europe/Athens", "Europe/Belfast", "Europe/Berlin", "Europe/Bratislava", "Europe/Brussels",
    "Europe/Bucharest", "Europe/Budapest", "Europe/Busingen", "Europe/Copenhagen", "Europe/Dublin",
    "Europe/Gibraltar", "Europe/Guernsey", "Europe/Helsinki", "Europe/Isle_of_Man", "Europe/Jersey",
    "Europe/Lisbon", "Europe/Ljubljana", "Europe/London", "Europe/Luxembourg", "Europe/Madrid", "Europe/Malta",
    "Europe/Mariehamn", "Europe/Nicosia", "Europe/Oslo", "Europe/Paris", "Europe/Prague", "Europe/Riga",
    "Europe/Rome", "Europe/Sofia", "Europe/Stockholm", "Europe/Tallinn", "Europe/Vaduz", "Europe/Vienna",
    "Europe/Vilnius", "Europe/Warsaw", "Europe/Zagreb", "GB", "GB-Eire", "Iceland", "Indian/Mayotte",
    "Indian/Reunion", "MET", "Poland", "Portugal", "WET",
];
