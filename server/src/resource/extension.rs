//! A file name extension at the end of a path, which names the media type of the answer: `/Dog/1.csv`, `/Dog/.msgpack`.

use crate::content::Media;

/// What is before and after the last dot. A fast search, for most paths have none and each is searched.
pub(super) fn last_dot(path: &str) -> Option<(&str, &str)> {
    let at = memchr::memrchr(b'.', path.as_bytes())?;
    Some((&path[..at], &path[at + 1..]))
}

/// The path below the table without its extension, and the type that this names. An extension that is also a declared
/// name, or that follows no slash, names no type.
pub(super) fn split(declares: impl Fn(&str) -> bool, rest: &str) -> (&str, Option<Media>) {
    let found = last_dot(rest).and_then(|(path, extension)| {
        let media = Media::of_extension(extension)?;
        (path.starts_with('/') && !declares(extension)).then_some((path, media))
    });
    found.map_or((rest, None), |(path, media)| (path, Some(media)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extension_names_a_type_unless_it_is_an_attribute() {
        let declares = |name: &str| name == "txt";
        let name = |rest| {
            let (path, media) = split(declares, rest);
            (path, media.map(|media| media.name))
        };
        assert_eq!(name("/1.csv"), ("/1", Some("text/csv")));
        assert_eq!(name("/.msgpack"), ("/", Some("application/x-msgpack")));
        assert_eq!(name("/a/b.yaml"), ("/a/b", Some("text/yaml")));
        assert_eq!(name("/a.b/c.json"), ("/a.b/c", Some("application/json")));
        for rest in ["/1.txt", "/1.png", "/1", "", "/1.", "/a.csv/b"] {
            assert_eq!(name(rest), (rest, None), "{rest}");
        }
    }
}
