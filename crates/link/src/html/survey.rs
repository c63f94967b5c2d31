//! What stands where in a message, found by an HTML parser.

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

use lol_html::errors::RewritingError;
use lol_html::html_content::{Attribute, Element, EndTag, TextType};
use lol_html::{HtmlRewriter, MemorySettings, Settings, doc_comments, doc_text, doctype, element};

use super::marks::OWN_ATTRIBUTE;

/// A message, as far as instrumentation cares. All places are byte offsets into its source.
#[derive(Default)]
pub(super) struct Survey {
    /// The links, in document order: `a` and `area`.
    pub anchors: Vec<Anchor>,
    /// Behind the doctype; 0 without one.
    pub doctype_end: usize,
    /// Behind the first `<body …>`.
    pub body_start: Option<usize>,
    /// Before the last `</body>`.
    pub body_end: Option<usize>,
    /// The images' sources, decoded.
    pub images: Vec<String>,
    /// How much there is to read: characters outside of tags, styles and the head, spaces not counted.
    pub text_chars: usize,
    /// How many conditional comments hold links.
    pub conditional_links: usize,
    /// The link whose text is being read.
    open_anchor: Option<usize>,
    in_head: bool,
}

/// A link.
pub(super) struct Anchor {
    /// Where it goes, unless it goes nowhere.
    pub href: Option<HrefValue>,
    /// All attributes: names in lower case, values decoded.
    pub attributes: Vec<(String, String)>,
    /// Where our own attribute stands, with the space before it.
    pub own_attributes: Vec<Range<usize>>,
    /// The text within, decoded, up to a bound.
    pub text: String,
}

/// The value of an `href`.
pub(super) struct HrefValue {
    /// Decoded once, and without what a browser drops from a URL: space around it, tabs and line breaks in it.
    pub value: String,
    /// The source of the value, without its quotes.
    pub range: Range<usize>,
    /// The quote around it.
    quote: Option<u8>,
}

impl HrefValue {
    /// A URL as it is written in place of the value.
    pub fn written(&self, url: &str) -> String {
        let mut out = String::with_capacity(url.len() + 2);
        let bare = self.quote.is_none();
        if bare {
            out.push('"');
        }
        for character in url.chars() {
            match character {
                '&' => out.push_str("&amp;"),
                '"' => out.push_str("&quot;"),
                '\'' => out.push_str("&#39;"),
                '<' => out.push_str("&lt;"),
                '>' => out.push_str("&gt;"),
                _ => out.push(character),
            }
        }
        if bare {
            out.push('"');
        }
        out
    }
}

/// Enough of a link's text to see what it claims.
const ANCHOR_TEXT_BYTES_MAX: usize = 256;
/// Beside the message itself: the parser's stack of open elements.
const PARSER_BYTES_MAX: usize = 4 << 20;

impl Survey {
    /// Reads a message.
    pub fn of(html: &str) -> Result<Survey, RewritingError> {
        // The handlers of end tags own what they use: hence the shared cell.
        let survey = Rc::new(RefCell::new(Survey::default()));
        let settings = Settings::new()
            .with_memory_settings(
                MemorySettings::new().with_max_allowed_memory_usage(html.len() + PARSER_BYTES_MAX),
            )
            .append_document_content_handler(doctype!(|doctype| {
                survey.borrow_mut().doctype_end = doctype.source_location().bytes().end;
                Ok(())
            }))
            .append_document_content_handler(doc_comments!(|comment| {
                let text = comment.text().to_ascii_lowercase();
                if text.trim_start().starts_with("[if") && text.contains("href") {
                    survey.borrow_mut().conditional_links += 1;
                }
                Ok(())
            }))
            .append_document_content_handler(doc_text!(|chunk| {
                if chunk.text_type() == TextType::Data {
                    survey.borrow_mut().text(chunk.as_str());
                }
                Ok(())
            }))
            .append_element_content_handler(element!("a, area", |element| {
                let anchor = Anchor::of(element, html);
                let mut now = survey.borrow_mut();
                // An area has no text.
                now.open_anchor = element.can_have_content().then_some(now.anchors.len());
                now.anchors.push(anchor);
                let survey = Rc::clone(&survey);
                at_end(element, move |_| survey.borrow_mut().open_anchor = None);
                Ok(())
            }))
            .append_element_content_handler(element!("body", |element| {
                let mut now = survey.borrow_mut();
                now.in_head = false;
                now.body_start.get_or_insert(element.source_location().bytes().end);
                let survey = Rc::clone(&survey);
                at_end(element, move |tag| survey.borrow_mut().body_end = Some(tag.start));
                Ok(())
            }))
            .append_element_content_handler(element!("head", |element| {
                survey.borrow_mut().in_head = true;
                let survey = Rc::clone(&survey);
                at_end(element, move |_| survey.borrow_mut().in_head = false);
                Ok(())
            }))
            .append_element_content_handler(element!("img", |element| {
                let source = element.get_attribute("src").unwrap_or_default();
                survey.borrow_mut().images.push(htmlize::unescape_attribute(source).into_owned());
                Ok(())
            }));
        let mut parser = HtmlRewriter::new(settings, |_: &[u8]| {});
        parser.write(html.as_bytes())?;
        parser.end()?;
        Ok(survey.take())
    }

    fn text(&mut self, text: &str) {
        if !self.in_head {
            self.text_chars += text.chars().filter(|character| !character.is_whitespace()).count();
        }
        let Some(anchor) = self.open_anchor.and_then(|at| self.anchors.get_mut(at)) else { return };
        if anchor.text.len() < ANCHOR_TEXT_BYTES_MAX {
            anchor.text.push_str(&htmlize::unescape(text));
        }
    }
}

impl Anchor {
    fn of(element: &Element<'_, '_>, html: &str) -> Anchor {
        let mut anchor =
            Anchor { href: None, attributes: Vec::new(), own_attributes: Vec::new(), text: String::new() };
        for attribute in element.attributes() {
            let name = attribute.name();
            let value = htmlize::unescape_attribute(attribute.value()).into_owned();
            // Of an attribute that is there twice, browsers take the first.
            if name == "href" && anchor.href.is_none() && !anchor.has("href") {
                anchor.href = href(attribute, &value, html);
            }
            if name == OWN_ATTRIBUTE {
                anchor.own_attributes.extend(whole(attribute, html));
            }
            anchor.attributes.push((name, value));
        }
        anchor
    }

    /// Whether an attribute is there, with or without a value.
    pub fn has(&self, name: &str) -> bool {
        self.attributes.iter().any(|(found, _)| found == name)
    }
}

fn at_end(element: &mut Element<'_, '_>, handler: impl FnOnce(Range<usize>) + 'static) {
    if let Some(handlers) = element.end_tag_handlers() {
        handlers.push(Box::new(move |tag: &mut EndTag<'_>| {
            handler(tag.source_location().bytes());
            Ok(())
        }));
    }
}

fn href(attribute: &Attribute<'_>, value: &str, html: &str) -> Option<HrefValue> {
    let range = attribute.value_source_location()?.bytes();
    let quote = quote(&range, html);
    let value = value.trim_matches(|character| character <= ' ').replace(['\t', '\n', '\r'], "");
    Some(HrefValue { value, range, quote })
}

/// The source of an attribute, with its quotes and the space before it.
fn whole(attribute: &Attribute<'_>, html: &str) -> Option<Range<usize>> {
    let name = attribute.name_source_location()?.bytes();
    let value = attribute.value_source_location().map(|location| location.bytes());
    let end = value.map_or(name.end, |value| value.end + usize::from(quote(&value, html).is_some()));
    let start = html[..name.start].trim_end_matches(|character: char| character.is_ascii_whitespace()).len();
    Some(start..end)
}

fn quote(value: &Range<usize>, html: &str) -> Option<u8> {
    let before = *html.as_bytes().get(value.start.checked_sub(1)?)?;
    matches!(before, b'"' | b'\'').then_some(before)
}
