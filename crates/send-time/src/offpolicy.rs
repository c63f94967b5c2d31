//! What a choice of hours would have come to, by mails sent at hours that somebody else chose.
//!
//! Each mail that happened to go out in a chosen hour stands for all those that did not: it weighs the choice's
//! probability of its hour over the sender's (inverse propensity), and the mean is over the sum of the weights
//! (self-normalised: Swaminathan and Joachims, *The Self-Normalized Estimator for Counterfactual Learning*, 2015). So
//! it is of no mail more than was sent, and of no hour in which none was: [`Chosen::covered`] is the share of the choice
//! that can be told.
//!
//! The propensity of an hour is its share among the mails of the same time zone and class of days: the sender is taken
//! to choose by the clock, not by the person. Where they do choose by the person, with these very send times, more mails
//! are in the recommended window than that gives, and as many as there are too many are taken to have been sent as
//! recommended. A mail whose hour was drawn evenly needs no such guess: its propensity is 1 over the hours drawn among.

use crate::counts::BINS;
use crate::resample::{Drawn, Mean, Means, Ratio, Weighed};

/// Hours of the day, each as likely.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HourSet(u32);

impl HourSet {
    /// From an hour to before another; the whole day when they are the same.
    pub fn window(start_hour: u8, end_hour: u8) -> HourSet {
        let length = (end_hour + 23 - start_hour) % 24 + 1;
        HourSet((0..length).fold(0, |set, hour| set | 1 << ((start_hour + hour) % 24)))
    }

    /// One hour, 0 to 23.
    pub fn hour(hour: u8) -> HourSet {
        HourSet(1 << (hour % 24))
    }

    /// The probability of an hour.
    pub fn share(self, hour: usize) -> f64 {
        if self.0 >> hour & 1 == 1 { 1.0 / f64::from(self.0.count_ones()) } else { 0.0 }
    }

    fn hours(self) -> impl Iterator<Item = usize> {
        (0..24).filter(move |hour| self.0 >> hour & 1 == 1)
    }
}

/// Mails to a recipient that went out in the same hour of the local week.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cell {
    /// See [`crate::counts::bin`].
    pub bin: u8,
    /// Whether the hour was drawn evenly.
    pub drawn: bool,
    /// How many.
    pub mails: u32,
    /// How many were opened within an hour; half for each of which it is not sure.
    pub opened: f32,
}

/// A recipient, and what would have been chosen for them in each of several ways. The first is the one under test.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipient<const WAYS: usize> {
    /// Their key.
    pub recipient: u64,
    /// Their time zone, by a number.
    pub zone: u32,
    /// The hours of each way.
    pub choices: [HourSet; WAYS],
    /// Their mails.
    pub cells: Box<[Cell]>,
}

/// How the sender chose hours.
struct Sender {
    /// By zone: the share of each hour among the mails of a class of days.
    shares: Vec<[f64; BINS]>,
    /// Hours that were drawn among.
    drawn_among: f64,
    usual: Usual,
}

/// Of the mails whose hour was not drawn, shares.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize)]
pub struct Usual {
    /// Sent in the window under test.
    pub in_window: f64,
    /// As many as the sender's clock alone gives.
    pub in_window_by_clock: f64,
    /// Taken to have been sent as recommended: none unless there are many more than chance gives.
    pub followed: f64,
}

/// A way to choose, judged.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Chosen {
    /// Opens within an hour, of mails sent so.
    #[serde(flatten)]
    pub mean: Mean,
    /// Share of the choice in hours in which mail went out to the same zone.
    pub covered: f64,
    /// The way under test over this one; None for itself, and where nothing can be told.
    pub test_over: Option<Ratio>,
}

/// All ways judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement<const WAYS: usize> {
    /// When the sender sent, by mails whose hour was not drawn.
    pub as_sent: Chosen,
    /// The same but for the hours under test.
    pub elsewhere: Chosen,
    /// The ways.
    pub choices: [Chosen; WAYS],
    /// What was found of the sender.
    pub usual: Usual,
}

/// Judges all ways by the same mails.
pub fn judge<const WAYS: usize>(all: &[Recipient<WAYS>], seed: u64) -> Judgement<WAYS> {
    let sender = Sender::learn(all);
    let mut means = Means::new(WAYS + 2, all.len());
    let (mut covered, mut mails) = ([0.0; WAYS], 0.0);
    for one in all {
        for cell in &one.cells {
            let (hour, propensity) = (usize::from(cell.bin) % 24, sender.propensity(one, cell));
            let mut add = |column, weight| {
                let (mails, acts) = (cell.mails, f64::from(cell.opened));
                means.add(column, Weighed { recipient: one.recipient, weight, mails, acts });
            };
            for (column, choice) in one.choices.iter().enumerate() {
                add(column, choice.share(hour) / propensity);
            }
            add(WAYS, f64::from(u8::from(!cell.drawn)));
            if one.choices[0].share(hour) == 0.0 {
                let inside = one.choices[0].hours().map(|hour| sender.propensity(one, &cell.at(hour)));
                add(WAYS + 1, 1.0 / (1.0 - inside.sum::<f64>()).max(propensity));
            }
            mails += f64::from(cell.mails);
            for (covered, choice) in covered.iter_mut().zip(&one.choices) {
                let told = |hour: &usize| sender.propensity(one, &cell.at(*hour)) > 0.0;
                let told = choice.hours().filter(told).count() as f64 / choice.0.count_ones().max(1) as f64;
                *covered += told * f64::from(cell.mails);
            }
        }
    }
    let drawn = means.drawn(seed);
    let chosen = |column: usize, covered: f64| chosen(&drawn, column, covered);
    Judgement {
        as_sent: chosen(WAYS, 1.0),
        elsewhere: chosen(WAYS + 1, 1.0),
        choices: std::array::from_fn(|way| chosen(way, if mails > 0.0 { covered[way] / mails } else { 0.0 })),
        usual: sender.usual,
    }
}

fn chosen(drawn: &Drawn<'_>, column: usize, covered: f64) -> Chosen {
    let test_over = if column == 0 { None } else { drawn.ratio(0, column) };
    Chosen { mean: drawn.mean(column), covered, test_over }
}

impl Cell {
    /// The same mails, had they gone out in another hour of such a day.
    fn at(&self, hour: usize) -> Cell {
        Cell { bin: self.bin / 24 * 24 + hour as u8, ..*self }
    }
}

impl Sender {
    fn learn<const WAYS: usize>(all: &[Recipient<WAYS>]) -> Sender {
        let zones = all.iter().map(|one| one.zone as usize + 1).max().unwrap_or(0);
        let mut shares = vec![[0.0; BINS]; zones];
        let mut hours_drawn = 0_u32;
        for one in all {
            for cell in &one.cells {
                if cell.drawn {
                    hours_drawn |= 1 << (cell.bin % 24);
                } else {
                    shares[one.zone as usize][usize::from(cell.bin)] += f64::from(cell.mails);
                }
            }
        }
        for days in shares.iter_mut().flat_map(|zone| zone.chunks_exact_mut(24)) {
            let sum: f64 = days.iter().sum();
            days.iter_mut().for_each(|hour| *hour /= sum.max(1.0));
        }
        let drawn_among = f64::from(hours_drawn.count_ones().max(1));
        let mut sender = Sender { shares, drawn_among, usual: Usual::default() };
        sender.usual = sender.usual(all);
        sender
    }

    /// How many mails went out in the window under test, and how many more than the clock gives.
    fn usual<const WAYS: usize>(&self, all: &[Recipient<WAYS>]) -> Usual {
        let (mut mails, mut inside, mut by_clock, mut variance) = (0.0, 0.0, 0.0, 0.0);
        for one in all {
            for cell in one.cells.iter().filter(|cell| !cell.drawn) {
                let count = f64::from(cell.mails);
                let likely = one.choices[0].hours().map(|hour| self.propensity(one, &cell.at(hour)));
                let likely = likely.sum::<f64>().min(1.0);
                let hit = one.choices[0].share(usize::from(cell.bin) % 24) > 0.0;
                mails += count;
                inside += if hit { count } else { 0.0 };
                by_clock += count * likely;
                variance += count * likely * (1.0 - likely);
            }
        }
        let many = inside - by_clock > FOLLOWED_DEVIATIONS * variance.sqrt() && mails > by_clock;
        let followed = if many { (inside - by_clock) / (mails - by_clock) } else { 0.0 };
        let share = |part: f64| if mails > 0.0 { part / mails } else { 0.0 };
        Usual { in_window: share(inside), in_window_by_clock: share(by_clock), followed }
    }

    fn propensity<const WAYS: usize>(&self, one: &Recipient<WAYS>, cell: &Cell) -> f64 {
        if cell.drawn {
            return 1.0 / self.drawn_among;
        }
        let Usual { followed, .. } = self.usual;
        let recommended = one.choices[0].share(usize::from(cell.bin) % 24);
        (1.0 - followed) * self.shares[one.zone as usize][usize::from(cell.bin)] + followed * recommended
    }
}

/// Deviations above what the clock gives from which on mails in the window are taken to be there by choice.
const FOLLOWED_DEVIATIONS: f64 = 4.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{mix, scaled};

    /// People of whom each opens in two hours of their own a quarter of what comes, and else a twentieth. The sender
    /// sends mostly at nine; a share goes out as recommended, a share is drawn.
    fn people(seed: u64, followed: u64, drawn: u64) -> Vec<Recipient<2>> {
        let bits = |who: u64, what: u64| mix(mix(mix(seed) ^ who) ^ what);
        (0..1_000)
            .map(|who| {
                let start = scaled(bits(who, 1), 24) as u8;
                let own = HourSet::window(start, (start + 2) % 24);
                let cells = (0..6).map(|mail| {
                    let draw = |what: u64| bits(who, 100 + 10 * mail + what);
                    let is_drawn = scaled(draw(0), 100) < drawn;
                    let hour = match scaled(draw(1), 100) {
                        _ if is_drawn => scaled(draw(2), 24),
                        part if part < followed => (u64::from(start) + scaled(draw(2), 2)) % 24,
                        part if part < followed + (100 - followed) / 2 => 9,
                        _ => scaled(draw(2), 24),
                    };
                    let likely = if own.share(hour as usize) > 0.0 { 250 } else { 50 };
                    let opened = if scaled(draw(3), 1_000) < likely { 1.0 } else { 0.0 };
                    Cell { bin: hour as u8, drawn: is_drawn, mails: 1, opened }
                });
                let choices = [own, HourSet::hour(9)];
                Recipient { recipient: bits(who, 2), zone: 0, choices, cells: cells.collect() }
            })
            .collect()
    }

    #[test]
    fn the_truth_lies_in_the_interval_as_often_as_it_says() {
        for (followed, drawn) in [(0, 0), (0, 10), (60, 0), (90, 5)] {
            let (mut held, mut apart) = (0, 0);
            for seed in 0..20 {
                let judged = judge(&people(seed, followed, drawn), seed);
                let Mean { interval, mails_effective, mails, .. } = judged.choices[0].mean;
                held += u32::from(interval[0] <= 0.25 && 0.25 <= interval[1]);
                apart += u32::from(judged.as_sent.test_over.is_some_and(|ratio| ratio.is_apart()));
                assert!(mails_effective > 150.0 && mails_effective <= mails as f64 + 1e-6);
                assert!((judged.choices[0].covered - 1.0).abs() < 1e-9);
                assert_eq!(judged.usual.followed > 0.3, followed > 0, "{:?}", judged.usual);
            }
            assert!(held >= 18, "{held} of 20, {followed} % followed, {drawn} % drawn");
            assert!(apart >= 18, "{apart} of 20, {followed} % followed, {drawn} % drawn");
        }
    }

    #[test]
    fn hours_without_mail_are_not_told() {
        let mails = |bin, opened| Cell { bin, drawn: false, mails: 4, opened };
        let choices = [HourSet::window(23, 1), HourSet::hour(3)];
        let one = Recipient { recipient: 1, zone: 0, choices, cells: [mails(0, 1.0), mails(9, 0.0)].into() };
        let judged = judge(&[one], 1);
        assert_eq!(judged.choices[0].mean.mean, Some(0.25));
        assert_eq!(judged.choices[0].covered, 0.5);
        assert_eq!((judged.choices[1].mean.mean, judged.choices[1].covered), (None, 0.0));
        assert_eq!((judged.as_sent.mean.mean, judged.elsewhere.mean.mean), (Some(0.125), Some(0.0)));
        let none = judge::<2>(&[], 1);
        assert_eq!((none.as_sent.mean.mean, none.choices[0].mean.mails), (None, 0));
    }
}
