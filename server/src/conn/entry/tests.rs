use super::*;
use crate::error::Code;
use proptest::prelude::*;

const MAX: usize = 1000;
const STAND_IN: &str = " HTTP/1.1\r\nHost: refused\r\nConnection: close\r\n\r\n";

fn through(parts: &[&[u8]]) -> (Vec<u8>, Entry) {
    fuzz::through(MAX, parts.iter().copied())
}

fn whole(request: &str) -> (String, Entry) {
    let (seen, entry) = through(&[request.as_bytes()]);
    (String::from_utf8(seen).unwrap(), entry)
}

#[track_caller]
fn passes(request: &str) {
    let (seen, entry) = whole(request);
    assert_eq!(seen, request);
    assert_eq!((entry.refused(), entry.broken()), (None, None));
    assert!(!entry.is_mid_head() && !entry.is_mid_body());
}

#[track_caller]
fn is_refused(request: &str, code: Code, line: &str) {
    let (seen, entry) = whole(request);
    assert!(seen.ends_with(STAND_IN), "{request:?}: {seen:?}");
    let (_, refusal) = entry.refused().unwrap();
    assert_eq!(refusal.code, code, "{request:?}: {refusal}");
    assert!(refusal.to_string().contains(line), "{request:?}: {refusal}");
}

#[test]
fn requests_pass_as_they_are() {
    for request in [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "GET /a?b|c^{}[]'!=~%3c HTTP/1.1\r\nhOsT: [::1]:80\r\nX:\t \x09a b\u{e9} \r\nEmpty:\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost:\r\n\r\n",
        "GET http://a.example:80/b?c HTTP/1.1\r\nHost: other\r\n\r\n",
        "GET HTTPS://a HTTP/1.1\r\nHost: other\r\n\r\n",
        "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n\r\n\0GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "PUT / HTTP/1.1\r\nHost: a\r\ntransfer-encoding: Chunked\r\n\r\n3;a=\"\\\"\";b\r\nabc\r\n00A \t;c\r\n0123456789\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\nZ:\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        passes(request);
    }
}

#[test]
fn what_no_uri_has_is_encoded_and_an_unknown_minor_version_is_the_highest_known() {
    for (sent, seen) in [
        ("GET /a?b>5&c<\"`\" HTTP/1.1", "GET /a?b%3E5&c%3C%22%60%22 HTTP/1.1"),
        ("GET /\u{e9} HTTP/1.1", "GET /%C3%A9 HTTP/1.1"),
        ("GET / HTTP/1.7", "GET / HTTP/1.1"),
        ("GET /> HTTP/1.0", "GET /%3E HTTP/1.0"),
    ] {
        let rest = "\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}GET / HTTP/1.1\r\nHost: b\r\n\r\n";
        let (out, entry) = whole(&format!("{sent}{rest}"));
        assert_eq!(out, format!("{seen}{rest}"));
        assert_eq!(entry.refused(), None);
    }
}

#[test]
fn heads_that_are_malformed_or_ambiguous_are_refused_with_their_place() {
    use Code::{BadRequest, NotImplemented, VersionNotSupported};
    let get = "GET / HTTP/1.1\r\nHost: a\r\n";
    let put = "PUT / HTTP/1.1\r\nHost: a\r\n";
    for (request, code, line) in [
        ("\u{16}\u{3}\u{1}".to_owned(), BadRequest, "line 1"),
        ("\r\n\r\nGET / HTTP/1.1\r\n".into(), BadRequest, "line 1"),
        (" GET / HTTP/1.1\r\n".into(), BadRequest, "line 1"),
        ("GET /\r\n".into(), BadRequest, "version"),
        ("GET  / HTTP/1.1\r\n".into(), BadRequest, "line 1"),
        ("GET /  HTTP/1.1\r\n".into(), BadRequest, "line 1"),
        ("GET / HTTP/1.1 \r\n".into(), BadRequest, "line 1"),
        ("GET /\t HTTP/1.1\r\n".into(), BadRequest, "target"),
        ("GET /a#b HTTP/1.1\r\n".into(), BadRequest, "target"),
        ("GET /a\0 HTTP/1.1\r\n".into(), BadRequest, "target"),
        ("GET a HTTP/1.1\r\n".into(), BadRequest, "path"),
        ("GET * HTTP/1.1\r\n".into(), BadRequest, "path"),
        ("GET a:80 HTTP/1.1\r\n".into(), BadRequest, "path"),
        ("GET ftp://a/ HTTP/1.1\r\n".into(), BadRequest, "path"),
        ("GET http:///a HTTP/1.1\r\n".into(), BadRequest, "path"),
        ("GET http://user@a/ HTTP/1.1\r\n".into(), BadRequest, "path"),
        ("GET http://a[.b/ HTTP/1.1\r\n".into(), BadRequest, "path"),
        ("GET http://[]/ HTTP/1.1\r\n".into(), BadRequest, "path"),
        ("GET http://a%41/ HTTP/1.1\r\n".into(), BadRequest, "path"),
        ("CONNECT a:80 HTTP/1.1\r\n".into(), NotImplemented, "proxy"),
        ("GET / http/1.1\r\n".into(), BadRequest, "version"),
        ("GET / HTTP/1.10\r\n".into(), BadRequest, "version"),
        ("GET / HTTP/2.0\r\n".into(), VersionNotSupported, "HTTP/1.1"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(), VersionNotSupported, "HTTP/1.1"),
        ("GET / HTTP/1.1\n".into(), BadRequest, "line 1"),
        ("GET / HTTP/1.1\r\nHost: a\n".into(), BadRequest, "line 2"),
        (format!("{get}X: a\rb\r\n\r\n"), BadRequest, "line 3"),
        (format!("{get}X: a\0b\r\n\r\n"), BadRequest, "line 3"),
        (format!("{get}X: a\u{7f}b\r\n\r\n"), BadRequest, "line 3"),
        (format!("{get}X : a\r\n\r\n"), BadRequest, "line 3"),
        (format!("{get} X: a\r\n\r\n"), BadRequest, "line 3"),
        (format!("{get}X: a\r\n\tb: c\r\n\r\n"), BadRequest, "line 4"),
        (format!("{get}X\r\n\r\n"), BadRequest, "colon"),
        (format!("{get}: a\r\n\r\n"), BadRequest, "line 3"),
        (format!("{get}X\u{e9}: a\r\n\r\n"), BadRequest, "line 3"),
        (format!("{get}Host: a\r\n\r\n"), BadRequest, "more than one Host"),
        ("GET / HTTP/1.1\r\n\r\n".into(), BadRequest, "Host"),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n".into(), BadRequest, "Host"),
        ("GET / HTTP/1.1\r\nHost: a:b\r\n\r\n".into(), BadRequest, "Host"),
        ("GET / HTTP/1.0\r\nHost: a/\r\n\r\n".into(), BadRequest, "Host"),
        (format!("{put}Content-Length: 2\r\ncontent-length: 2\r\n\r\n"), BadRequest, "line 4"),
        (format!("{put}Content-Length: 2, 2\r\n\r\n"), BadRequest, "number"),
        (format!("{put}Content-Length: +2\r\n\r\n"), BadRequest, "number"),
        (format!("{put}Content-Length:\r\n\r\n"), BadRequest, "number"),
        (format!("{put}Content-Length: 9223372036854775808\r\n\r\n"), BadRequest, "large"),
        (
            format!("{put}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n"),
            BadRequest,
            "and a",
        ),
        (
            format!("{put}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
            BadRequest,
            "more than one",
        ),
        (format!("{put}Transfer-Encoding: chunked, chunked\r\n\r\n"), BadRequest, "more than once"),
        (format!("{put}Transfer-Encoding: chunked, identity\r\n\r\n"), BadRequest, "last"),
        (format!("{put}Transfer-Encoding: \r\n\r\n"), BadRequest, "last"),
        (format!("{put}Transfer-Encoding: xchunked\r\n\r\n"), BadRequest, "last"),
        (format!("{put}Transfer-Encoding: gzip, chunked\r\n\r\n"), NotImplemented, "chunked"),
        ("PUT / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n".into(), BadRequest, "HTTP/1.0"),
    ] {
        is_refused(&request, code, line);
    }
}

#[test]
fn chunks_that_are_malformed_break_the_body_off() {
    let head = "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (good, bad) in [
        ("", "\r\n"),
        ("", "x\r\n"),
        ("", "-1\r\n"),
        ("", "+1\r\n"),
        ("", " 1\r\n"),
        ("0", "x1\r\n"),
        ("1", "\na"),
        ("1\r", "a"),
        ("1 ", "\r\n"),
        ("1 ", "2\r\n"),
        ("7fffffffffffffff", "0\r\n"),
        ("0000000000000000", "0\r\n"),
        ("1;a", "\n"),
        ("1;a=", "\0"),
        ("1;a=\"b", "\r\n"),
        ("1\r\na", "b\r\n"),
        ("1\r\na\r", "b"),
        ("1\r\na", "\n1\r\n"),
        ("0\r\n", " X: y\r\n\r\n"),
        ("0\r\nX", " : y\r\n\r\n"),
        ("0\r\nX: y\r\n", " z\r\n\r\n"),
        ("0\r\nX: ", "\0\r\n\r\n"),
        ("0\r\n\r", "X"),
    ] {
        let (seen, entry) = whole(&format!("{head}{good}{bad}"));
        assert_eq!(seen, format!("{head}{good}"), "{good:?} {bad:?}");
        assert!(entry.broken().is_some(), "{good:?} {bad:?}");
        assert_eq!(entry.refused(), None);
    }
    let many = "1;aaaaaaaaaaaaaaa\r\nx\r\n".repeat(1100);
    assert!(whole(&format!("{head}{many}")).1.broken().is_some(), "extensions have a limit");
    let many = "1\r\nx\r\n".repeat(100_000);
    assert!(whole(&format!("{head}{many}")).1.broken().is_none(), "chunks have none");
    let many = "X: y\r\n".repeat(65);
    assert!(whole(&format!("{head}0\r\n{many}")).1.broken().is_some(), "trailers have a limit");
}

#[test]
fn heads_have_limits() {
    let field = |bytes: usize| format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "x".repeat(bytes));
    let rest = MAX - field(0).len() - 4;
    passes(&format!("{}\r\n\r\n", field(rest)));
    is_refused(&format!("{}\r\n\r\n", field(rest + 1)), Code::HeaderTooLarge, "maxHeaderSize");
    is_refused(&field(MAX), Code::HeaderTooLarge, "maxHeaderSize");
    is_refused(&format!("GET /{}", "x".repeat(MAX)), Code::TargetTooLong, "target");
    let many = "A:\r\n".repeat(100);
    is_refused(&format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n"), Code::HeaderTooLarge, "100");
}

#[test]
fn a_refused_request_keeps_its_turn_its_method_and_its_target() {
    let good = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let (seen, entry) = whole(&format!("{good}{good}HEAD /a b\0 HTTP/1.1\r\n\r\n{good}"));
    assert_eq!(seen, format!("{good}{good}HEAD /a%20b%00{STAND_IN}"));
    assert_eq!(entry.refused().unwrap().0, 3);
    let (seen, _) = whole("CONNECT a:1 HTTP/1.1\r\n");
    assert_eq!(seen, format!("- /a:1{STAND_IN}"));
    let mut entry = Entry::new(MAX);
    assert_eq!(entry.receive(b"GET /slow HT"), 0);
    assert!(entry.is_mid_head());
    entry.refuse(Refusal::TIMEOUT);
    assert_eq!(entry.ready(), format!("GET /slow{STAND_IN}").as_bytes());
    entry.consume(entry.ready().len());
    assert_eq!(entry.receive(good.as_bytes()), 0);
    assert_eq!(entry.ready(), b"", "what follows is dropped");
    assert_eq!(entry.refused(), Some((1, Refusal::TIMEOUT)));
}

/// Pieces of requests, right and wrong, in any order.
fn soup() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        "GET",
        "PUT",
        "OPTIONS",
        " ",
        " ",
        "/",
        "/a?b>c",
        "*",
        "http://a:8/",
        "http://[::1]/b",
        " HTTP/1.1",
        " HTTP/1.0",
        " HTTP/1.3",
        "\r\n",
        "\r\n",
        "\r\n\r\n",
        "\n",
        "\r",
        "Host: a\r\n",
        "Content-Length: 3\r\n",
        "Content-Length: 0\r\n",
        "Transfer-Encoding: chunked\r\n",
        "X: y\r\n",
        "X:",
        ":",
        "\t",
        "\0",
        "\u{e9}",
        "3\r\nabc\r\n",
        "0\r\n",
        "0\r\n\r\n",
        ";a=\"b\"",
        "abc",
        "GET / HTTP/1.1\r\nHost: a\r\n",
        "PUT /b HTTP/1.1\r\nHost: b\r\n",
        "PUT /c HTTP/1.1\r\nHost: c\r\nTransfer-Encoding: chunked\r\n\r\n",
    ]);
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn where_the_bytes_are_cut_makes_no_difference(bytes in soup(), cut in 0_usize..64, step in 1_usize..9) {
        let (expected, entry) = through(&[&bytes]);
        let (first, rest) = bytes.split_at(cut.min(bytes.len()));
        let parts: Vec<&[u8]> = std::iter::once(first).chain(rest.chunks(step)).collect();
        let (seen, cut_entry) = through(&parts);
        // the earlier a fault is seen, the less of the request is known
        let number = |entry: &Entry| entry.refused().map(|(number, _)| number);
        prop_assert_eq!(number(&cut_entry), number(&entry));
        prop_assert_eq!(cut_entry.broken(), entry.broken());
        prop_assert!(seen == expected || entry.refused().is_some());
    }

    #[test]
    fn the_first_head_is_what_the_parser_behind_reads(bytes in soup()) {
        let (seen, _) = through(&[&bytes]);
        check_first_head(&seen)?;
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut request = b"GET /".to_vec();
        request.extend_from_slice(&bytes);
        request.extend_from_slice(b" HTTP/1.1\r\nHost: a\r\n\r\n");
        let (seen, _) = through(&[&request]);
        check_first_head(&seen)?;
    }
}

/// hyper's parser and `http::Uri` must take every head that is handed on.
fn check_first_head(seen: &[u8]) -> Result<(), TestCaseError> {
    if seen.is_empty() {
        return Ok(());
    }
    let mut fields = [httparse::EMPTY_HEADER; 100];
    let mut request = httparse::Request::new(&mut fields);
    let parsed = request.parse(seen);
    prop_assert!(matches!(parsed, Ok(httparse::Status::Complete(_))), "{parsed:?}");
    prop_assert!(request.path.unwrap().parse::<http::Uri>().is_ok(), "{:?}", request.path);
    Ok(())
}
