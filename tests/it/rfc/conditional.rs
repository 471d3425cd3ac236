//! Conditions: RFC 9110 §13.

use super::Want::{Has, Head, Open, Status};
use super::{Case, FINE, WRITTEN, must, should};

const FAILED: &[super::Want] = &[Status(412), Open];
const UNCHANGED: &[super::Want] = &[Head(304), Open];

pub(super) const CASES: &[Case] = &[
    must(
        "9110 §13.1.2",
        "If-None-Match with the tag",
        "GET /Dog/1 HTTP/1.1↵{H}If-None-Match: {tag}↵↵",
        UNCHANGED,
    ),
    must(
        "9110 §13.1.2",
        "If-None-Match on HEAD",
        "HEAD /Dog/1 HTTP/1.1↵{H}If-None-Match: {tag}↵↵",
        UNCHANGED,
    ),
    must(
        "9110 §13.1.2",
        "If-None-Match compares weakly",
        "GET /Dog/1 HTTP/1.1↵{H}If-None-Match: W/{tag}↵↵",
        UNCHANGED,
    ),
    must(
        "9110 §13.1.2",
        "If-None-Match with a list",
        "GET /Dog/1 HTTP/1.1↵{H}If-None-Match: \"a\", {tag} ,\"b\"↵↵",
        UNCHANGED,
    ),
    must(
        "9110 §13.1.2",
        "If-None-Match in two fields",
        "GET /Dog/1 HTTP/1.1↵{H}If-None-Match: \"a\"↵If-None-Match: {tag}↵↵",
        UNCHANGED,
    ),
    must("9110 §13.1.2", "If-None-Match *", "GET /Dog/1 HTTP/1.1↵{H}If-None-Match: *↵↵", UNCHANGED),
    must(
        "9110 §13.1.2",
        "If-None-Match with another tag",
        "GET /Dog/1 HTTP/1.1↵{H}If-None-Match: \"other\"↵↵",
        FINE,
    ),
    must(
        "9110 §13.1.2",
        "If-None-Match with the tag on a PUT",
        "PUT /Dog/1 HTTP/1.1↵{H}If-None-Match: {tag}↵Content-Length: 2↵↵{}",
        FAILED,
    ),
    must(
        "9110 §13.1.2",
        "If-None-Match * on a PUT of what exists",
        "PUT /Dog/1 HTTP/1.1↵{H}If-None-Match: *↵Content-Length: 2↵↵{}",
        FAILED,
    ),
    must(
        "9110 §13.1.2",
        "If-None-Match * on a PUT of what does not",
        "PUT /Dog/new HTTP/1.1↵{H}If-None-Match: *↵Content-Length: 2↵↵{}",
        WRITTEN,
    ),
    must(
        "9110 §13.1.2",
        "If-None-Match * on a DELETE",
        "DELETE /Dog/1 HTTP/1.1↵{H}If-None-Match: *↵↵",
        FAILED,
    ),
    must(
        "9110 §13.1.1",
        "If-Match with another tag",
        "PUT /Dog/1 HTTP/1.1↵{H}If-Match: \"other\"↵Content-Length: 2↵↵{}",
        FAILED,
    ),
    must(
        "9110 §13.1.1",
        "If-Match compares strongly",
        "PUT /Dog/1 HTTP/1.1↵{H}If-Match: W/{tag}↵Content-Length: 2↵↵{}",
        FAILED,
    ),
    must(
        "9110 §13.1.1",
        "If-Match * of what does not exist",
        "PUT /Dog/none HTTP/1.1↵{H}If-Match: *↵Content-Length: 2↵↵{}",
        FAILED,
    ),
    must(
        "9110 §13.1.1",
        "If-Match on a DELETE",
        "DELETE /Dog/1 HTTP/1.1↵{H}If-Match: \"other\"↵↵",
        FAILED,
    ),
    must(
        "9110 §13.1.1",
        "If-Match on a GET with the tag",
        "GET /Dog/1 HTTP/1.1↵{H}If-Match: {tag}↵↵",
        FINE,
    ),
    must(
        "9110 §13.1.1",
        "If-Match on a GET with another tag",
        "GET /Dog/1 HTTP/1.1↵{H}If-Match: \"other\"↵↵",
        FAILED,
    ),
    must(
        "9110 §13.2.2",
        "If-Match is looked at first",
        "GET /Dog/1 HTTP/1.1↵{H}If-Match: \"other\"↵If-None-Match: {tag}↵↵",
        FAILED,
    ),
    must(
        "9110 §13.2.2",
        "then If-None-Match",
        "GET /Dog/1 HTTP/1.1↵{H}If-Match: {tag}↵If-None-Match: {tag}↵↵",
        UNCHANGED,
    ),
    must(
        "9110 §13.2.1",
        "a condition on what is missing",
        "GET /Dog/none HTTP/1.1↵{H}If-None-Match: *↵↵",
        &[Status(404), Open],
    ),
    must(
        "9110 §13.1.3",
        "If-Modified-Since yields to If-None-Match",
        "GET /Dog/1 HTTP/1.1↵{H}If-None-Match: \"other\"↵If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT↵↵",
        FINE,
    ),
    must(
        "9110 §13.1.3",
        "If-Modified-Since that is no date",
        "GET /Dog/1 HTTP/1.1↵{H}If-Modified-Since: yesterday↵↵",
        FINE,
    ),
    must(
        "9110 §13.1.3",
        "If-Modified-Since on a PUT",
        "PUT /Dog/w HTTP/1.1↵{H}If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT↵Content-Length: 2↵↵{}",
        WRITTEN,
    ),
    must(
        "9110 §13.1.4",
        "If-Unmodified-Since that is no date",
        "PUT /Dog/w HTTP/1.1↵{H}If-Unmodified-Since: yesterday↵Content-Length: 2↵↵{}",
        WRITTEN,
    ),
    must(
        "9110 §13.1.5",
        "If-Range without Range",
        "GET /Dog/1 HTTP/1.1↵{H}If-Range: {tag}↵↵",
        FINE,
    ),
    must(
        "9110 §15.4.5",
        "304 has the tag",
        "GET /Dog/1 HTTP/1.1↵{H}If-None-Match: {tag}↵↵",
        &[Head(304), Has("etag", "\""), Has("date", "GMT"), Has("vary", "Accept"), Open],
    ),
    should(
        "9110 §8.8.3",
        "a tag",
        "GET /Dog/1 HTTP/1.1↵{H}↵",
        &[Status(200), Has("etag", "\""), Open],
    ),
];
