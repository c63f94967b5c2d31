//! A reader for the small responses of an edge: status line, `Content-Length`, and no more of HTTP/1.1 than that.

/// The longest response head, in bytes.
const HEAD_BYTES_MAX: usize = 16_384;

/// A whole response, of which only this matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The connection can be used again.
    pub keep: bool,
}

/// Bytes that are no response this reader understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

/// Reads one response after another from bytes that arrive in any pieces.
#[derive(Debug, Default)]
pub struct Reader {
    head: Vec<u8>,
    body: Option<Body>,
    bodiless: bool,
}

#[derive(Debug, Clone, Copy)]
struct Body {
    reply: Reply,
    /// `None`: until the connection ends.
    left: Option<u64>,
}

impl Reader {
    /// For the answer to a HEAD: whatever length it names, nothing follows.
    pub fn bodiless() -> Reader {
        Reader { bodiless: true, ..Reader::default() }
    }

    /// Takes the next bytes; `Some` when they end the response. Bytes past it are an error: nothing was asked
    /// that they could answer.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Option<Reply>, Malformed> {
        let mut rest = bytes;
        if self.body.is_none() {
            let seen = self.head.len();
            self.head.extend_from_slice(bytes);
            // The end of the head may have begun in an earlier piece.
            let from = seen.saturating_sub(3);
            let Some(at) = self.head[from..].windows(4).position(|w| w == b"\r\n\r\n") else {
                return if self.head.len() > HEAD_BYTES_MAX {
                    Err(Malformed("head too long"))
                } else {
                    Ok(None)
                };
            };
            let head_len = from + at + 4;
            let mut body = parse_head(&self.head[..head_len - 2])?;
            if self.bodiless {
                body.left = Some(0);
            }
            self.body = Some(body);
            rest = &bytes[head_len - seen..];
        }
        let Some(body) = &mut self.body else { return Ok(None) };
        let Some(left) = &mut body.left else { return Ok(None) };
        *left = left.checked_sub(rest.len() as u64).ok_or(Malformed("bytes past the response"))?;
        if *left > 0 {
            return Ok(None);
        }
        let reply = body.reply;
        self.head.clear();
        self.body = None;
        Ok(Some(reply))
    }

    /// The connection has ended: a response without a length is whole now, any other is not.
    pub fn end(self) -> Result<Reply, Malformed> {
        match self.body {
            Some(Body { reply, left: None }) => Ok(reply),
            _ => Err(Malformed("ended early")),
        }
    }

    /// Nothing of a response has arrived yet.
    pub fn is_empty(&self) -> bool {
        self.head.is_empty()
    }
}

/// `head` is the status line and the header lines, each with its line end.
fn parse_head(head: &[u8]) -> Result<Body, Malformed> {
    let text = std::str::from_utf8(head).map_err(|_| Malformed("head is not text"))?;
    let mut lines = text.split_terminator("\r\n");
    let status_line = lines.next().ok_or(Malformed("no status line"))?;
    let (version, rest) = status_line.split_once(' ').ok_or(Malformed("no status line"))?;
    let mut keep = match version {
        "HTTP/1.1" => true,
        "HTTP/1.0" => false,
        _ => return Err(Malformed("not HTTP/1")),
    };
    let status = rest.get(..3).filter(|code| code.bytes().all(|b| b.is_ascii_digit()));
    let status: u16 = status.and_then(|code| code.parse().ok()).ok_or(Malformed("no status code"))?;
    if status < 200 {
        return Err(Malformed("an interim response was not asked for"));
    }
    let mut length = None;
    for line in lines {
        let (name, value) = line.split_once(':').ok_or(Malformed("a header without a colon"))?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            let value = value.parse().map_err(|_| Malformed("content-length is not a number"))?;
            if length.replace(value).is_some_and(|before| before != value) {
                return Err(Malformed("two content-lengths"));
            }
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(Malformed("transfer-encoding is not read here"));
        } else if name.eq_ignore_ascii_case("connection") && value.eq_ignore_ascii_case("close") {
            keep = false;
        }
    }
    if matches!(status, 204 | 304) {
        length = Some(0);
    }
    Ok(Body { reply: Reply { status, keep: keep && length.is_some() }, left: length })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PIXEL: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: image/gif\r\ncontent-length: 5\r\n\r\nGIF89";

    #[test]
    fn whole_responses() {
        for (bytes, status, keep) in [
            (PIXEL, 200, true),
            (b"HTTP/1.1 302 Found\r\nLocation: https://x.example/\r\nContent-Length: 0\r\n\r\n", 302, true),
            (b"HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length:3\r\n\r\nabc", 200, false),
            (b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n", 200, false),
            (b"HTTP/1.1 204\r\n\r\n", 204, true),
        ] as [(&[u8], u16, bool); 5]
        {
            assert_eq!(Reader::default().feed(bytes), Ok(Some(Reply { status, keep })));
        }
    }

    #[test]
    fn the_answer_to_a_head_ends_with_its_head() {
        let head = &PIXEL[..PIXEL.len() - 5];
        assert_eq!(Reader::bodiless().feed(head), Ok(Some(Reply { status: 200, keep: true })));
        assert_eq!(Reader::bodiless().feed(PIXEL), Err(Malformed("bytes past the response")));
    }

    #[test]
    fn a_response_without_a_length_ends_with_the_connection() {
        let mut reader = Reader::default();
        assert_eq!(reader.feed(b"HTTP/1.1 200 OK\r\n\r\nsome bytes"), Ok(None));
        assert_eq!(reader.end(), Ok(Reply { status: 200, keep: false }));
        let mut cut = Reader::default();
        assert_eq!(cut.feed(&PIXEL[..PIXEL.len() - 1]), Ok(None));
        assert_eq!(cut.end(), Err(Malformed("ended early")));
    }

    #[test]
    fn what_is_no_response() {
        for (bytes, why) in [
            (&b"SSH-2.0-x 200\r\n\r\n"[..], "not HTTP/1"),
            (b"HTTP/1.1 2x0 OK\r\n\r\n", "no status code"),
            (b"HTTP/1.1 100 Continue\r\n\r\n", "an interim response was not asked for"),
            (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "transfer-encoding is not read here"),
            (b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n", "content-length is not a number"),
            (b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", "two content-lengths"),
            (b"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n", "a header without a colon"),
            (b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nab", "bytes past the response"),
        ] {
            assert_eq!(Reader::default().feed(bytes), Err(Malformed(why)));
        }
        let mut endless = Reader::default();
        let fed: Vec<_> = (0..20).map(|_| endless.feed(&[b'x'; 1_000])).collect();
        assert!(fed.contains(&Err(Malformed("head too long"))));
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(cuts in prop::collection::vec(0..PIXEL.len(), 0..8), times in 1..4_usize) {
            let mut cuts = cuts;
            cuts.extend([0, PIXEL.len()]);
            cuts.sort_unstable();
            let mut reader = Reader::default();
            for _ in 0..times {
                let mut replies = Vec::new();
                for piece in cuts.windows(2).filter(|w| w[0] < w[1]) {
                    prop_assert!(replies.is_empty());
                    replies.extend(reader.feed(&PIXEL[piece[0]..piece[1]]).unwrap());
                }
                prop_assert_eq!(replies, vec![Reply { status: 200, keep: true }]);
                prop_assert!(reader.is_empty());
            }
        }

        #[test]
        fn noise_never_panics(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 0..8)) {
            let mut reader = Reader::default();
            for piece in pieces {
                if reader.feed(&piece).is_err() {
                    break;
                }
            }
        }
    }
}
