//! Query parameters that a sender adds to links for analytics of its own.

use std::borrow::Cow;

use url::form_urlencoded;

/// The URL with those of the parameters that it does not have yet, before its fragment. All else stays as it is.
pub(super) fn add(url: &str, parameters: &[(String, String)]) -> String {
    let (before, fragment) = url.split_at(url.find('#').unwrap_or(url.len()));
    let query = before.split_once('?').map_or("", |(_, query)| query);
    let missing = parameters.iter().filter(|(name, _)| !has(query, name));
    let mut out = before.to_owned();
    for (name, value) in missing {
        let separator = match out.bytes().last() {
            _ if !out.contains('?') => "?",
            Some(b'?' | b'&') => "",
            _ => "&",
        };
        out.push_str(separator);
        out.extend(form_urlencoded::byte_serialize(name.as_bytes()));
        out.push('=');
        out.extend(form_urlencoded::byte_serialize(value.as_bytes()));
    }
    out + fragment
}

fn has(query: &str, name: &str) -> bool {
    form_urlencoded::parse(query.as_bytes())
        .any(|(found, _): (Cow<'_, str>, _)| found.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::add;

    #[test]
    fn parameters_are_added_once_and_before_the_fragment() {
        let utm = [("utm_source".into(), "spring news".into()), ("utm_medium".into(), "e&mail".into())];
        for (url, expected) in [
            ("https://a.example", "https://a.example?utm_source=spring+news&utm_medium=e%26mail"),
            ("https://a.example/#x?y", "https://a.example/?utm_source=spring+news&utm_medium=e%26mail#x?y"),
            ("https://a.example/?", "https://a.example/?utm_source=spring+news&utm_medium=e%26mail"),
            ("https://a.example/?b=1&", "https://a.example/?b=1&utm_source=spring+news&utm_medium=e%26mail"),
            ("https://a.example/?UTM_Source=x#y", "https://a.example/?UTM_Source=x&utm_medium=e%26mail#y"),
            ("https://a.example/?utm_source&utm_medium=", "https://a.example/?utm_source&utm_medium="),
        ] {
            assert_eq!(add(url, &utm), expected);
        }
        assert_eq!(add("https://a.example/?b=%zz#c", &[]), "https://a.example/?b=%zz#c");
    }
}
