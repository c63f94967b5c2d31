//! The words of `data/agents.tsv`.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, MatchKind};

use super::{Role, shape};

/// A row of `data/agents.tsv`.
#[derive(Debug)]
pub(crate) struct Word {
    /// What it says the agent is.
    pub role: Role,
    /// The place of its role in the file's order: the lowest decides.
    rank: u8,
    place: Anchor,
    /// The client's name; empty when the word is only a sign.
    pub name: &'static str,
    /// For a mail client or a phone: the device and system it runs on, when that is sure.
    pub hint: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Anchor {
    Any,
    Word,
    Start,
    Said,
}

struct Words {
    matcher: AhoCorasick,
    rows: Vec<Word>,
}

static WORDS: LazyLock<Words> = LazyLock::new(|| {
    let lines = include_str!("../../data/agents.tsv")
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty());
    let (tokens, rows): (Vec<&str>, Vec<Word>) = lines.map(row).unzip();
    let matcher = AhoCorasick::builder()
        .match_kind(MatchKind::LeftmostLongest)
        .build(tokens)
        .expect("the built-in table is small enough for an automaton");
    Words { matcher, rows }
});

/// Builds the table of words, so that no event waits for it.
pub(crate) fn prepare() {
    LazyLock::force(&WORDS);
}

fn row(line: &'static str) -> (&'static str, Word) {
    let mut columns = line.split('\t');
    let mut column = || columns.next().unwrap_or_default();
    let (role, place, token, name, hint) = (column(), column(), column(), column(), column());
    let (role, rank) = match role {
        "image-proxy" => (Role::ImageProxy, 0),
        "scanner" => (Role::Scanner, 1),
        "preview" => (Role::Preview, 2),
        "bot" => (Role::Bot, 3),
        "mail" => (Role::Mail, 4),
        "library" => (Role::Library, 5),
        "phone" => (Role::Phone, 6),
        "ignore" => (Role::Reader, IGNORED),
        _ => panic!("the agent table has no role {role:?}"),
    };
    let place = match place {
        "any" => Anchor::Any,
        "word" => Anchor::Word,
        "start" => Anchor::Start,
        "said" => Anchor::Said,
        _ => panic!("the agent table has no place {place:?}"),
    };
    (token, Word { role, rank, place, name, hint })
}

/// The rank of words that only keep shorter ones inside them from being seen.
const IGNORED: u8 = u8::MAX;

/// The word that decides, of those in a text in lower case; of one role, the one with a name, then the one that comes
/// first.
pub(crate) fn deciding(lower: &str) -> Option<&'static Word> {
    let words: &'static Words = &WORDS;
    let model = shape::android_model(lower);
    let mut best: Option<&'static Word> = None;
    for found in words.matcher.find_iter(lower) {
        let word = &words.rows[found.pattern().as_usize()];
        let stands = match word.place {
            Anchor::Any => true,
            Anchor::Start => found.start() == 0,
            Anchor::Word => {
                found.start() == 0 || !lower.as_bytes()[found.start() - 1].is_ascii_alphanumeric()
            }
            // A model's name is no statement, unless a version follows.
            Anchor::Said => !model.contains(&found.start()) || lower[found.end()..].starts_with('/'),
        };
        let key = |word: &Word| (word.rank, word.name.is_empty());
        if stands && word.rank != IGNORED && best.is_none_or(|best| key(word) < key(best)) {
            best = Some(word);
        }
    }
    best
}
