//! What came of it, for people and for programs.

use std::collections::BTreeMap;
use std::fmt;

use send_time::offpolicy::{Chosen, Usual};
use send_time::resample::{ACTS_MIN, EFFECTIVE_MIN, Mean, Ratio};
use serde::Serialize;

use super::super::Why;
use super::LeftOut;
use crate::table::table;

/// What came of it.
#[derive(Debug, Serialize)]
pub struct Report {
    pub workspace: u32,
    /// The cut.
    pub from: String,
    /// The end.
    pub until: String,
    pub sends_are_told: bool,
    /// Of whom mails are judged.
    pub recipients: usize,
    /// Mails judged.
    pub mails: u64,
    /// Of these, opened within an hour by a person.
    pub opened: f64,
    /// Of these, sent at a drawn hour.
    pub mails_drawn: u64,
    /// Mails that are not judged.
    pub left_out: LeftOut,
    /// Recipients who are not looked at, by the reason.
    pub refused: BTreeMap<&'static str, usize>,
    /// When the sender sent.
    pub usual: Usual,
    /// That under test last.
    pub ways: Vec<Way>,
    /// The same by mails at a drawn hour alone.
    pub drawn_only: Option<Vec<Way>>,
    /// What was claimed.
    pub claims: Vec<Claimed>,
    /// See [`Report::concluded`].
    pub conclusion: String,
}

/// A way to choose hours.
#[derive(Debug, Serialize)]
pub struct Way {
    pub name: &'static str,
    #[serde(flatten)]
    pub chosen: Chosen,
}

/// Mails of which about the same was claimed.
#[derive(Debug, Serialize)]
pub struct Claimed {
    /// Of which probability; none: all those in the recommended window.
    pub span: Option<[f64; 2]>,
    /// Mean of what was claimed.
    pub claimed: f64,
    /// What happened.
    pub happened: Mean,
}

/// How many are refused by each reason.
pub fn refused(all: &[(u64, Why)]) -> BTreeMap<&'static str, usize> {
    let mut by_reason = BTreeMap::new();
    all.iter().for_each(|(_, why)| *by_reason.entry(why.as_str()).or_insert(0) += 1);
    by_reason
}

impl Report {
    /// With what can be said of all this, and what can not.
    pub fn concluded(self) -> Report {
        Report { conclusion: self.conclude(), ..self }
    }

    fn conclude(&self) -> String {
        if !self.sends_are_told {
            return "Nothing can be told: no send is known, so nobody knows which mails were not opened."
                .to_owned();
        }
        let Some(tested) = self.ways.last().map(|way| way.chosen.mean).filter(|_| self.mails > 0) else {
            return "Nothing can be told: no mail was sent that could be judged.".to_owned();
        };
        if !tested.tells() {
            let Mean { mails, mails_effective, acts, .. } = tested;
            return format!(
                "Too little to tell: {mails} mails happened to go out in a recommended window, which are as sure as \
                 {mails_effective:.0} of equal weight, and {acts} of them were opened within an hour. Expected are at \
                 least {EFFECTIVE_MIN} and {ACTS_MIN}: hold out more, or let a share explore."
            );
        }
        let mut said = Vec::new();
        let others = self.ways.iter().filter_map(|way| Some((way.name, way.chosen.test_over?)));
        for (name, over) in others {
            let Ratio { ratio, interval: (least, most) } = over;
            let most = most.map_or("any number".to_owned(), |most| format!("{most:.2}"));
            said.push(if over.is_apart() {
                format!("{ratio:.2} times ({least:.2} to {most}) those of {}", quoted(name))
            } else {
                format!("not to be told from those of {} ({least:.2} to {most} times)", quoted(name))
            });
        }
        if said.is_empty() {
            return "There is nothing to hold the recommended windows against: no other mail is judged."
                .to_owned();
        }
        format!("Opens within an hour in the recommended windows are {}.", said.join("; "))
    }
}

fn quoted(name: &str) -> String {
    format!("\"{name}\"")
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { from, until, recipients, mails, opened, mails_drawn, left_out, usual, .. } = self;
        writeln!(f, "held out: {from} to {until}; recommended from what was before")?;
        writeln!(
            f,
            "judged: {mails} mails to {recipients} recipients; a person opened {opened} within an hour"
        )?;
        for (count, why) in [
            (left_out.fetched_ahead, "to people whose images are fetched ahead: their opens are not seen"),
            (left_out.not_recommended, "to people for whom nothing was recommended"),
            (left_out.time_zone_unknown, "to people of whom no time zone is known"),
            (left_out.too_late, "sent less than an hour before the end"),
        ] {
            if count > 0 {
                writeln!(f, "not judged: {count} mails {why}")?;
            }
        }
        for (why, count) in &self.refused {
            writeln!(f, "not looked at: {count} recipients ({why})")?;
        }
        if *mails > 0 {
            let [inside, by_clock] = [usual.in_window, usual.in_window_by_clock].map(percent);
            write!(
                f,
                "in the recommended window: {inside} of the mails, {by_clock} by the sender's clock alone"
            )?;
            match usual.followed {
                followed if followed > 0.0 => {
                    writeln!(f, "; {} are taken to have been sent as recommended", percent(followed))?;
                }
                _ => writeln!(f)?,
            }
            writeln!(f, "\n{}", ways(&self.ways))?;
        }
        if let Some(drawn) = &self.drawn_only {
            writeln!(f, "by the {mails_drawn} mails at an hour drawn evenly alone\n\n{}", ways(drawn))?;
        }
        if !self.claims.is_empty() {
            writeln!(f, "{}", claims(&self.claims))?;
        }
        writeln!(f, "{}", self.conclusion)
    }
}

fn ways(ways: &[Way]) -> String {
    let rows: Vec<Vec<String>> = ways
        .iter()
        .map(|Way { name, chosen: Chosen { mean, covered, test_over } }| {
            let over = test_over.map_or(String::new(), |Ratio { ratio, interval: (least, most) }| {
                let most = most.map_or("?".to_owned(), |most| format!("{most:.2}"));
                format!("{ratio:.2} ({least:.2}-{most})")
            });
            let (of, interval) = shown(mean);
            let effective = format!("{:.0}", mean.mails_effective);
            vec![(*name).to_owned(), of, interval, mean.mails.to_string(), effective, percent(*covered), over]
        })
        .collect();
    table(
        &[
            "mail sent",
            ">opened in 1 h",
            ">95 of 100 in",
            ">mails",
            ">effective",
            ">hours known",
            ">recommended is",
        ],
        &rows,
    )
}

fn claims(claims: &[Claimed]) -> String {
    let rows: Vec<Vec<String>> = claims
        .iter()
        .map(|Claimed { span, claimed, happened }| {
            let span = span.map_or("recommended window".to_owned(), |[from, to]| {
                format!("{:.0} to {:.0} %", from * 100.0, to * 100.0)
            });
            let (of, interval) = shown(happened);
            vec![span, percent(*claimed), of, interval, happened.mails.to_string()]
        })
        .collect();
    table(&["claimed", ">on average", ">opened in 1 h", ">95 of 100 in", ">mails"], &rows)
}

fn shown(mean: &Mean) -> (String, String) {
    let [least, most] = mean.interval.map(|end| end * 100.0);
    match mean.mean {
        Some(of) => (percent(of), format!("{least:.1}-{most:.1} %")),
        None => ("?".to_owned(), "?".to_owned()),
    }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}
