//! The model that an Android agent names, and what kind of device it is.

use std::sync::LazyLock;

use super::DeviceType;

/// What the model says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Says {
    /// It is of this kind.
    Is(DeviceType),
    /// It is a phone, though the agent may not say `Mobile`.
    Phone,
}

/// What a model's name says, if anything. In lower case; empty when the agent names none. `mobile`: the agent says so,
/// and then a name that may be a phone's is one.
pub fn kind(model: &str, mobile: bool) -> Option<Says> {
    let name = MAKERS.iter().find_map(|maker| model.strip_prefix(maker)).unwrap_or(model);
    if name.is_empty() {
        return None;
    }
    let row = ROWS.iter().find(|row| row.fits(name));
    if let Some(row) = row
        && row.says != Says::Phone
    {
        return Some(row.says);
    }
    let ends = |word: &str| has_end(name, word);
    if ends("tab") || ends("tablet") || ends("pad") && !PHONE_PADS.iter().any(|pad| name.contains(pad)) {
        return Some(Says::Is(DeviceType::Tablet));
    }
    let box_ = ["tv box", "smart box", "smart tv", "smarttv"].iter().any(|word| name.contains(word));
    // Phones with a receiver are named for their television too.
    if begins_with_inches(name)
        || box_
        || !mobile && (has_word(name, "tv") && !name.contains("dtv") || ends("box") || ends("stb"))
    {
        return Some(Says::Is(DeviceType::Tv));
    }
    row.map(|row| row.says)
}

const MAKERS: [&str; 7] = ["samsung ", "lenovo ", "huawei ", "xiaomi ", "honor ", "amazon ", "asus "];

/// Makers and names of phones.
const PHONE_PADS: [&str; 5] = ["phonepad", "fonepad", "coolpad", "klipad", "techpad"];

/// A word ends in it: `Smart Tab 10`, `Slidepad`, `vtab7`.
fn has_end(name: &str, word: &str) -> bool {
    name.match_indices(word)
        .any(|(at, _)| !name[at + word.len()..].starts_with(|c: char| c.is_ascii_alphabetic()))
}

/// It is a word, or begins or ends one.
fn has_word(name: &str, word: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphabetic();
    name.match_indices(word)
        .any(|(at, _)| !name[..at].ends_with(letter) || !name[at + word.len()..].starts_with(letter))
}

/// Televisions are named by their inches, letters and digits: `43OV4000AF`, `HX-55U01FB`.
fn begins_with_inches(name: &str) -> bool {
    let mut words = name.split(['-', '_', ' ']);
    words.any(|word| {
        let inches = word.get(..2).and_then(|inches| inches.parse().ok());
        let rest = word.get(2..).unwrap_or_default();
        let letters = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
        let digits = rest[letters..].bytes().take_while(u8::is_ascii_digit).count();
        inches.is_some_and(|inches: u32| SCREENS.contains(&inches))
            && (1..=5).contains(&letters)
            && digits >= 2
    })
}

/// Inches of televisions that are sold.
#[rustfmt::skip]
const SCREENS: [u32; 19] = [19, 20, 22, 24, 28, 32, 39, 40, 42, 43, 48, 49, 50, 55, 58, 65, 70, 75, 85];

/// A row of `data/models.tsv`.
struct Row {
    says: Says,
    pattern: &'static [u8],
    /// At the beginning of any word, not only of the name.
    anywhere: bool,
}

impl Row {
    fn fits(&self, name: &str) -> bool {
        let bytes = name.as_bytes();
        if !self.anywhere {
            return self.begins(bytes);
        }
        (0..bytes.len())
            .any(|at| (at == 0 || !bytes[at - 1].is_ascii_alphanumeric()) && self.begins(&bytes[at..]))
    }

    fn begins(&self, bytes: &[u8]) -> bool {
        bytes.len() >= self.pattern.len()
            && self.pattern.iter().zip(bytes).all(|(pattern, byte)| match pattern {
                b'#' => byte.is_ascii_digit(),
                b'@' => byte.is_ascii_alphabetic(),
                b'%' => matches!(byte, b'1' | b'7' | b'8' | b'9'),
                _ => pattern == byte,
            })
    }
}

static ROWS: LazyLock<Vec<Row>> = LazyLock::new(|| {
    let lines = include_str!("../../data/models.tsv").lines();
    lines.filter(|line| !line.starts_with('#') && !line.is_empty()).map(row).collect()
});

/// Builds the table, so that no event waits for it.
pub(crate) fn prepare() {
    LazyLock::force(&ROWS);
}

fn row(line: &'static str) -> Row {
    let (kind, pattern) = line.split_once('\t').expect("every row of the models has two columns");
    let says = match kind {
        "tablet" => Says::Is(DeviceType::Tablet),
        "tv" => Says::Is(DeviceType::Tv),
        "desktop" => Says::Is(DeviceType::Desktop),
        "wearable" => Says::Is(DeviceType::Wearable),
        "phone" => Says::Phone,
        _ => panic!("the table of models has no kind {kind:?}"),
    };
    let anywhere = pattern.starts_with('*');
    Row { says, pattern: pattern.trim_start_matches('*').as_bytes(), anywhere }
}
