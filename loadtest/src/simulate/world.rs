//! The worlds: what people share, and what disturbs the view of them.

use clap::ValueEnum;

/// A world by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum WorldName {
    /// Nothing disturbs: every open is seen, by the right clock.
    Clean,
    /// What senders see: prefetch for nearly half, proxies, scanners, wrong zones, travel, changed habits.
    Real,
    /// As real, but a third of the machines look like people and 60 % of prefetches are known as such.
    Disguised,
    /// As real, but zones are recorded as fixed offsets: wrong for half of the year.
    FixedOffset,
    /// As real, but 40 % change their habits.
    Movers,
    /// As real, but nobody shares a habit with anybody.
    Strangers,
    /// As real, but habits are shared by time zone, not by company.
    Zones,
    /// As real, but at each company nearly all have one habit.
    Companies,
    /// As real, with 1 to 8 mails a person.
    Few,
    /// As real, with mail sent around the clock.
    Spread,
    /// As real, but the sender sends in the evening.
    Evening,
}

/// What a world is made of. Shares are of people, from 0 to 1, unless said otherwise.
#[derive(Debug, Clone, PartialEq)]
pub struct World {
    /// Whose habits are alike.
    pub shared: Shared,
    /// Concentration of the habits of a company or zone: small is alike.
    pub alike: f64,
    /// People without a company: their mail is at a free provider.
    pub free_mail: f64,
    /// People whose mail program fetches every image ahead, so that an open of theirs is never seen.
    pub prefetched: f64,
    /// People whose images come through a proxy that fetches once, when the mail is shown.
    pub proxied: f64,
    /// Companies whose scanner opens and follows links at delivery.
    pub scanned: f64,
    /// Share of machine events that can be told by their user agent or their burst.
    pub detected: f64,
    /// People whose recorded zone is one to three hours off.
    pub wrong_zone: f64,
    /// Whether zones are recorded as fixed offsets.
    pub fixed_offset: bool,
    /// People who travel for two weeks.
    pub travel: f64,
    /// People whose habit changes after two thirds of the time.
    pub changed: f64,
    /// Mean mails of a person in 26 weeks.
    pub mails_mean: f64,
    /// Most mails of a person in 26 weeks.
    pub mails_max: f64,
    /// When the sender sends: (first hour, hour after the last, weight), by the sender's clock.
    pub sending: &'static [(f64, f64, f64)],
}

/// Whose habits are alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shared {
    /// Of the people of a company.
    Domain,
    /// Of the people of a time zone.
    Zone,
    /// Nobody's: each has bumps of their own.
    Nobody,
}

/// Share of mails sent on a day of the weekend.
pub const WEEKEND_SHARE: f64 = 0.1;

/// Of the opens, those followed by a click, and by a download.
pub const CLICK_SHARE: f64 = 0.15;
/// See [`CLICK_SHARE`].
pub const DOWNLOAD_SHARE: f64 = 0.03;

const OFFICE: &[(f64, f64, f64)] = &[(9.0, 11.0, 0.50), (13.0, 16.0, 0.28), (6.0, 22.0, 0.22)];
const AROUND: &[(f64, f64, f64)] = &[(0.0, 24.0, 1.0)];
const EVENING: &[(f64, f64, f64)] = &[(17.0, 20.0, 0.70), (6.0, 22.0, 0.30)];

impl WorldName {
    /// What the world is made of.
    pub fn world(self) -> World {
        let real = World {
            shared: Shared::Domain,
            alike: 0.5,
            free_mail: 0.3,
            prefetched: 0.45,
            proxied: 0.22,
            scanned: 0.1,
            detected: 0.95,
            wrong_zone: 0.08,
            fixed_offset: false,
            travel: 0.05,
            changed: 0.10,
            mails_mean: 16.5,
            mails_max: 90.0,
            sending: OFFICE,
        };
        match self {
            WorldName::Clean => World {
                prefetched: 0.0,
                scanned: 0.0,
                detected: 1.0,
                wrong_zone: 0.0,
                travel: 0.0,
                changed: 0.0,
                ..real
            },
            WorldName::Real => real,
            WorldName::Disguised => World { detected: 0.60, ..real },
            WorldName::FixedOffset => World { fixed_offset: true, ..real },
            WorldName::Movers => World { changed: 0.40, ..real },
            WorldName::Strangers => World { shared: Shared::Nobody, ..real },
            WorldName::Zones => World { shared: Shared::Zone, ..real },
            WorldName::Companies => World { alike: 0.1, ..real },
            WorldName::Few => World { mails_mean: 4.0, mails_max: 8.0, ..real },
            WorldName::Spread => World { sending: AROUND, ..real },
            WorldName::Evening => World { sending: EVENING, ..real },
        }
    }

    /// As on the command line.
    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}
