//! Methods and statuses: RFC 9110 §9 and §15.

use super::Want::{Body, Has, Head, Lacks, Open, Status};
use super::{Case, FINE, must, safe, should};

pub(super) const CASES: &[Case] = &[
    must("9110 §9.1", "GET", "GET /Dog/1 HTTP/1.1↵{H}↵", FINE),
    must("9110 §9.3.2", "HEAD has no body", "HEAD /Dog/1 HTTP/1.1↵{H}↵", &[Head(200), Open]),
    should(
        "9110 §9.3.2",
        "HEAD has the length of GET",
        "HEAD /Dog/1 HTTP/1.1↵{H}↵",
        &[
            Head(200),
            Has("content-length", ""),
            Has("content-type", "json"),
            Has("etag", "\""),
            Open,
        ],
    ),
    must(
        "9110 §9.3.2",
        "HEAD of what is missing",
        "HEAD /Dog/none HTTP/1.1↵{H}↵",
        &[Head(404), Open],
    ),
    must("9110 §9.3.2", "HEAD of a collection", "HEAD /Dog/ HTTP/1.1↵{H}↵", &[Head(200), Open]),
    must(
        "9110 §9.3.2",
        "HEAD of a malformed request",
        "HEAD /Dog/1 x HTTP/1.1↵{H}↵",
        &[Head(400), Has("connection", "close")],
    ),
    must(
        "9110 §9.3.2",
        "HEAD, then GET at once",
        "HEAD /Dog/1 HTTP/1.1↵{H}↵GET /Dog/1 HTTP/1.1↵{H}↵",
        &[Head(200), Status(200), Open],
    ),
    should(
        "9110 §9.3.7",
        "OPTIONS",
        "OPTIONS /Dog/1 HTTP/1.1↵{H}↵",
        &[Status(204), Has("allow", "PATCH"), Open],
    ),
    must(
        "9110 §15.5.6",
        "405 says what is allowed",
        "POST /Dog/1 HTTP/1.1↵{H}Content-Length: 2↵↵{}",
        &[Status(405), Has("allow", "GET, HEAD, PUT"), Open],
    ),
    safe(
        "9110 §9.3.8",
        "TRACE",
        "TRACE /Dog/1 HTTP/1.1↵{H}Cookie: secret↵↵",
        &[Status(405), Has("allow", "GET"), Open],
    ),
    should(
        "9110 §15.6.2",
        "a method that nobody knows",
        "FROBNICATE /Dog/1 HTTP/1.1↵{H}↵",
        &[Status(501), Open],
    ),
    should(
        "9110 §15.6.2",
        "a method of WebDAV",
        "PROPFIND /Dog/1 HTTP/1.1↵{H}↵",
        &[Status(501), Open],
    ),
    must(
        "9110 §15.3.5",
        "204 ends with its head",
        "DELETE /Dog/1/none HTTP/1.1↵{H}↵PUT /Dog/w HTTP/1.1↵{H}Content-Length: 2↵↵{}",
        &[Status(200), Status(204), Open],
    ),
    must(
        "9110 §15.5.2",
        "401 has a challenge",
        "GET /Dog/1 HTTP/1.1↵Host: other.example↵↵",
        &[Status(401), Has("www-authenticate", "Basic realm="), Open],
    ),
    must(
        "9110 §11.1",
        "a scheme in other letters",
        "GET /Dog/1 HTTP/1.1↵{H}Authorization: bAsIc eDp5↵↵",
        &[Status(401), Open],
    ),
    should(
        "9110 §15.5.1",
        "400 says why",
        "GET /Dog/?nosuch=1 HTTP/1.1↵{H}↵",
        &[Status(400), Has("content-type", "application/problem+json"), Body("nosuch"), Open],
    ),
    should("9110 §15.5.5", "404", "GET /nowhere HTTP/1.1↵{H}↵", &[Status(404), Open]),
    should(
        "9110 §15.5.16",
        "415",
        "PUT /Dog/w HTTP/1.1↵{H}Content-Type: application/cbor↵Content-Length: 1↵↵\u{1f}",
        &[Status(400), Open],
    ),
    should(
        "9110 §14.5",
        "PUT with Content-Range",
        "PUT /Dog/1 HTTP/1.1↵{H}Content-Range: bytes 0-1/10↵Content-Length: 2↵↵{}",
        &[Status(400), Open],
    ),
    must(
        "9110 §14.2",
        "Range on a PUT means nothing",
        "PUT /Dog/w HTTP/1.1↵{H}Range: bytes=0-0↵Content-Length: 2↵↵{}",
        &[Status(204), Open],
    ),
    must(
        "9110 §14.2",
        "Range of an unknown unit means nothing",
        "GET /Dog/1 HTTP/1.1↵{H}Range: dogs=0-0↵↵",
        FINE,
    ),
    should(
        "9110 §12.5.1",
        "nothing acceptable",
        "GET /Dog/1 HTTP/1.1↵{H}Accept: image/png↵↵",
        &[Status(406), Open],
    ),
    must(
        "9110 §12.5.1",
        "any type",
        "GET /Dog/1 HTTP/1.1↵{H}Accept: */*↵↵",
        &[Status(200), Has("content-type", "json"), Open],
    ),
    must(
        "9110 §12.5.1",
        "a type that is refused",
        "GET /Dog/1 HTTP/1.1↵{H}Accept: application/json;q=0, */*;q=0.1↵↵",
        &[Status(200), Has("content-type", "cbor"), Open],
    ),
    should(
        "9110 §12.5.5",
        "what an answer varies with",
        "GET /Dog/1 HTTP/1.1↵{H}↵",
        &[Status(200), Has("vary", "Accept"), Open],
    ),
    must(
        "9110 §12.5.3",
        "a coding that is refused",
        "GET /Dog/ HTTP/1.1↵{H}Accept-Encoding: br;q=0↵↵",
        &[Status(200), Lacks("content-encoding"), Open],
    ),
    must(
        "9110 §9.3.5",
        "DELETE again",
        "DELETE /Dog/none HTTP/1.1↵{H}↵DELETE /Dog/none HTTP/1.1↵{H}↵",
        &[Status(200), Status(200), Open],
    ),
];
