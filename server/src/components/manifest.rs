//! `config.yaml` of an application: which components it has, and their options.

use super::data;
use super::{Application, problem_at, roles, schema};
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use harper_config::{Node, Place, Problem, Scalar, Severity};
use http::StatusCode;
use std::path::{Path, PathBuf};

/// What an application without `config.yaml` has.
const DEFAULT: &str = "rest: true\ngraphqlSchema:\n  files: '*.graphql'\nroles:\n  files: roles.yaml\n\
    jsResource:\n  files: resources.js\nfastifyRoutes:\n  files: 'routes/*.js'\nstatic:\n  files: 'web/**'\n";

/// Components of Harper that are not supported yet.
const LATER: [&str; 6] =
    ["jsResource", "loadEnv", "fastifyRoutes", "graphql", "authentication", "mqtt"];

/// Files of an application's folder that are looked at.
const FILES_MAX: usize = 100_000;
/// Nesting of folders that are looked at.
const DEPTH_MAX: usize = 32;

/// The options of a `static` component.
#[derive(Debug)]
pub(crate) struct FilesOptions {
    /// Which files.
    pub patterns: GlobSet,
    /// The folder before the first wildcard.
    pub prefix: PathBuf,
    /// URL path below which they are served, without slashes at its ends.
    pub url_path: String,
    /// Whether a folder answers with its `index.html`.
    pub index: bool,
    /// Extensions that are tried where a path names no file, without their dots.
    pub extensions: Vec<String>,
    /// Whether other resources are asked where a path names no file.
    pub fallthrough: bool,
    /// The file that is sent in place of one that there is not, and its status.
    pub not_found: Option<(String, StatusCode)>,
}

struct Loader<'a> {
    folder: &'a Path,
    manifest: PathBuf,
    application: Application,
    problems: &'a mut Vec<Problem>,
    is_default: bool,
}

/// Reads one application's folder.
pub(crate) fn load(folder: &Path, problems: &mut Vec<Problem>) -> Application {
    let manifest = folder.join("config.yaml");
    let is_default = !manifest.exists();
    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned());
    let application = Application {
        name: name.unwrap_or_default(),
        version: version(folder),
        folder: folder.to_owned(),
        ..Application::default()
    };
    let mut loader = Loader { folder, manifest, application, problems, is_default };
    loader.read();
    loader.application
}

/// The application's own version; a `package.json` that says none is no mistake.
fn version(folder: &Path) -> String {
    let text = std::fs::read_to_string(folder.join("package.json")).unwrap_or_default();
    let package: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    package["version"].as_str().unwrap_or("0").to_owned()
}

impl Loader<'_> {
    fn read(&mut self) {
        if !self.folder.is_dir() {
            return self.error(Place::default(), "", "is not a folder");
        }
        let text = if self.is_default {
            Ok(DEFAULT.to_owned())
        } else {
            std::fs::read_to_string(&self.manifest)
        };
        match text.map(|text| harper_config::parse(&text)) {
            Err(error) => self.error(Place::default(), "", error.to_string()),
            Ok(Err((place, sentence))) => self.error(place, "", sentence),
            Ok(Ok(root @ Node::Map(..))) => {
                for (name, place, options) in root.members() {
                    self.component(name, *place, options);
                }
            }
            Ok(Ok(other)) => self.error(other.place(), "", "expected a mapping of components"),
        }
    }

    fn component(&mut self, name: &str, place: Place, options: &Node) {
        match name {
            "rest" => self.rest(options),
            "graphqlSchema" => self.schemas(options),
            "static" => self.statics(options),
            "dataLoader" => self.data(options),
            "roles" => self.roles(options),
            _ if LATER.contains(&name) => self.later(name, place, options),
            _ if options.get("package").is_some() => {
                self.warning(
                    place,
                    name,
                    "components installed from a package are not supported yet, ignored",
                );
            }
            _ => self.warning(place, name, "unknown component, ignored"),
        }
    }

    fn rest(&mut self, options: &Node) {
        self.application.rest =
            !matches!(options, Node::Scalar(Scalar::Bool(false) | Scalar::Null, _));
        self.application.last_modified = self.rest_flag(options, "lastModified", false);
        self.application.web_socket = self.rest_flag(options, "webSocket", true);
        self.known_options("rest", options, &["lastModified", "webSocket"]);
    }

    fn rest_flag(&mut self, options: &Node, name: &str, default: bool) -> bool {
        match options.get(name).map(|option| (option.to_json(), option.place())) {
            None => {}
            Some((serde_json::Value::Bool(flag), _)) => return flag,
            Some((_, place)) => {
                self.error(place, &format!("rest.{name}"), "expected true or false");
            }
        }
        default
    }

    fn later(&mut self, name: &str, place: Place, options: &Node) {
        // by default every component is named; it matters only where its files exist
        if self.is_default && self.matching(name, options).is_none_or(|files| files.is_empty()) {
            return;
        }
        self.warning(place, name, "not supported yet, ignored");
    }

    fn schemas(&mut self, options: &Node) {
        for (file, text) in self.texts("graphqlSchema", options) {
            let tables = schema::parse(&file, &text, self.problems);
            self.application.tables.extend(tables);
        }
    }

    fn roles(&mut self, options: &Node) {
        for (file, text) in self.texts("roles", options) {
            let roles = roles::parse(&file, &text, self.problems);
            self.application.roles.extend(roles);
        }
    }

    /// The texts of the files of a component that knows no option but `files`.
    fn texts(&mut self, name: &str, options: &Node) -> Vec<(PathBuf, String)> {
        self.known_options(name, options, &["files"]);
        let mut texts = Vec::new();
        for file in self.required_files(name, options) {
            let path = self.folder.join(&file);
            match std::fs::read_to_string(&path) {
                Ok(text) => texts.push((path, text)),
                Err(error) => {
                    self.error(options.place(), name, format!("{}: {error}", file.display()));
                }
            }
        }
        texts
    }

    fn statics(&mut self, options: &Node) {
        let known = ["files", "urlPath", "index", "extensions", "fallthrough", "notFound"];
        self.known_options("static", options, &known);
        let Some((patterns, sources)) = self.patterns("static", options) else { return };
        let url_path = match options.get("urlPath").map(Node::to_json) {
            Some(serde_json::Value::String(path)) => path.trim_matches(['/', '.']).to_owned(),
            _ => String::new(),
        };
        let prefix = static_prefix(&sources);
        let is_on = |name| options.get(name).is_none_or(|node| node.to_json() != false);
        let (index, fallthrough) = (is_on("index"), is_on("fallthrough"));
        let extensions = self.extensions(options);
        let not_found = self.not_found(options);
        self.application.files.push(FilesOptions {
            patterns,
            prefix,
            url_path,
            index,
            extensions,
            fallthrough,
            not_found,
        });
    }

    /// `extensions`: a list of them, with or without their dots; `false` is none.
    fn extensions(&mut self, options: &Node) -> Vec<String> {
        let Some(node) = options.get("extensions") else { return Vec::new() };
        let names = match node.to_json() {
            serde_json::Value::Bool(false) | serde_json::Value::Null => Some(Vec::new()),
            serde_json::Value::Array(list) => {
                let names = list.iter().map(|name| name.as_str());
                names.map(|name| Some(name?.trim_start_matches('.').to_owned())).collect()
            }
            _ => None,
        };
        names.unwrap_or_else(|| {
            self.error(node.place(), "static.extensions", "expected a list of extensions");
            Vec::new()
        })
    }

    /// `notFound`: a file, or `{file, statusCode}`; the status is 404 when it is not given.
    fn not_found(&mut self, options: &Node) -> Option<(String, StatusCode)> {
        let node = options.get("notFound")?;
        let json = node.to_json();
        let file = json.as_str().or_else(|| json["file"].as_str());
        let status = match &json["statusCode"] {
            serde_json::Value::Null => Some(StatusCode::NOT_FOUND),
            status => status
                .as_u64()
                .and_then(|status| StatusCode::from_u16(u16::try_from(status).ok()?).ok()),
        };
        let parsed = file.zip(status.filter(|status| status.as_u16() >= 200));
        if parsed.is_none() && json != false && !json.is_null() {
            let expected = "expected a file, or `file` and `statusCode`";
            self.error(node.place(), "static.notFound", expected);
        }
        let leave = |file: &str| file.trim_start_matches("./").trim_start_matches('/').to_owned();
        parsed.map(|(file, status)| (leave(file), status))
    }

    fn data(&mut self, options: &Node) {
        self.known_options("dataLoader", options, &["files"]);
        for file in self.required_files("dataLoader", options) {
            let path = self.folder.join(&file);
            match data::read(&path) {
                Ok(file) => self.application.data.push(file),
                Err((place, message)) => {
                    self.problems.push(problem_at(Severity::Error, &path, place, "", message))
                }
            }
        }
    }

    /// Files that a component cannot do without.
    fn required_files(&mut self, name: &str, options: &Node) -> Vec<PathBuf> {
        let Some(files) = self.matching(name, options) else { return Vec::new() };
        if files.is_empty() && !self.is_default {
            self.warning(options.place(), name, "no file matches");
        }
        files
    }

    /// The files that the component's patterns match; none when a pattern is wrong, which has then been said.
    fn matching(&mut self, name: &str, options: &Node) -> Option<Vec<PathBuf>> {
        let (patterns, _) = self.patterns(name, options)?;
        let mut files = Vec::new();
        walk(self.folder, Path::new(""), 0, &mut |path| {
            if patterns.is_match(path) {
                files.push(path.to_owned());
            }
            files.len() < FILES_MAX
        });
        files.sort();
        Some(files)
    }

    /// The `files` option: a pattern, a list of them, or `{source}`.
    fn patterns(&mut self, name: &str, options: &Node) -> Option<(GlobSet, Vec<String>)> {
        let files = match options {
            Node::Map(..) => options.get("files"),
            other => Some(other),
        };
        let files = files.map(|files| files.get("source").unwrap_or(files));
        let sources: Option<Vec<String>> = match files.map(Node::to_json) {
            Some(serde_json::Value::String(pattern)) => Some(vec![pattern]),
            Some(serde_json::Value::Array(list)) => {
                list.iter().map(|item| item.as_str().map(str::to_owned)).collect()
            }
            _ => None,
        };
        let Some(sources) = sources else {
            self.error(
                options.place(),
                name,
                "expected `files` with a pattern or a list of patterns",
            );
            return None;
        };
        let mut set = GlobSetBuilder::new();
        for source in &sources {
            let pattern = source.trim_start_matches("./");
            if pattern.starts_with('/') || pattern.split('/').any(|part| part == "..") {
                self.error(
                    options.place(),
                    name,
                    format!("{source}: the pattern leaves the application's folder"),
                );
                return None;
            }
            match GlobBuilder::new(pattern).literal_separator(true).build() {
                Ok(glob) => set.add(glob),
                Err(error) => {
                    self.error(options.place(), name, format!("{source}: {}", error.kind()));
                    return None;
                }
            };
        }
        set.build().ok().map(|set| (set, sources))
    }

    fn known_options(&mut self, name: &str, options: &Node, known: &[&str]) {
        for (option, place, _) in options.members() {
            if !known.contains(&option.as_str()) {
                self.warning(*place, &format!("{name}.{option}"), "not supported yet, ignored");
            }
        }
        if let Some(files @ Node::Map(..)) = options.get("files") {
            for (option, place, _) in
                files.members().iter().filter(|(option, _, _)| option != "source")
            {
                self.warning(
                    *place,
                    &format!("{name}.files.{option}"),
                    "not supported yet, ignored",
                );
            }
        }
    }

    fn error(&mut self, place: Place, key: &str, message: impl Into<String>) {
        self.problems.push(problem_at(Severity::Error, &self.manifest, place, key, message));
    }

    fn warning(&mut self, place: Place, key: &str, message: &str) {
        self.problems.push(problem_at(Severity::Warning, &self.manifest, place, key, message));
    }
}

/// The folder that all patterns share before their first wildcard.
fn static_prefix(sources: &[String]) -> PathBuf {
    let prefix_of = |source: &String| -> PathBuf {
        let parts: Vec<_> = source.trim_start_matches("./").split('/').collect();
        let plain = parts.iter().take_while(|part| !part.contains(['*', '?', '[', '{'])).count();
        parts[..plain.min(parts.len() - 1)].iter().collect()
    };
    let mut prefixes = sources.iter().map(prefix_of);
    let first = prefixes.next().unwrap_or_default();
    if prefixes.all(|prefix| prefix == first) { first } else { PathBuf::new() }
}

/// Visits the files below a folder by their relative path. Hidden entries and `node_modules` are passed over;
/// links are followed, for that is how Kubernetes mounts files.
fn walk(root: &Path, relative: &Path, depth: usize, visit: &mut dyn FnMut(&Path) -> bool) -> bool {
    let Ok(entries) = std::fs::read_dir(root.join(relative)) else { return true };
    let mut entries: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
    entries.sort();
    for name in entries {
        let text = name.to_string_lossy();
        if text.starts_with('.') || text == "node_modules" {
            continue;
        }
        let path = relative.join(&name);
        let goes_on = if root.join(&path).is_dir() {
            depth >= DEPTH_MAX || walk(root, &path, depth + 1, visit)
        } else {
            visit(&path)
        };
        if !goes_on {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load_with(files: &[(&str, &str)]) -> (Application, Vec<String>) {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("app");
        for (path, text) in files {
            let path = folder.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let mut problems = Vec::new();
        let application = load(&folder, &mut problems);
        let base = format!("{}/", folder.display());
        (
            application,
            problems.iter().map(|problem| problem.to_string().replace(&base, "")).collect(),
        )
    }

    #[test]
    fn without_a_manifest_the_usual_files_are_found() {
        let (application, problems) = load_with(&[
            ("schema.graphql", "type Dog @table @export { id: ID @primaryKey }"),
            ("web/index.html", "hi"),
            ("resources.js", ""),
        ]);
        assert_eq!(application.tables.len(), 1);
        assert!(application.rest);
        assert_eq!(application.files[0].prefix, Path::new("web"));
        assert_eq!(problems, ["warning: config.yaml:6:1: jsResource: not supported yet, ignored"]);
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        let (_, problems) = load_with(&[(
            "config.yaml",
            "rest: true\ngraphqlSchema:\n  files: ../x.graphql\nnonsense: 1\nstatic:\n  files: 'web/**'\n  timeout: 5\n",
        )]);
        assert_eq!(
            problems,
            [
                "error: config.yaml:3:3: graphqlSchema: ../x.graphql: the pattern leaves the application's folder",
                "warning: config.yaml:4:1: nonsense: unknown component, ignored",
                "warning: config.yaml:7:3: static.timeout: not supported yet, ignored",
            ]
        );
    }

    #[test]
    fn the_prefix_of_patterns_is_their_common_folder() {
        let of = |sources: &[&str]| {
            static_prefix(&sources.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(of(&["web/**"]), Path::new("web"));
        assert_eq!(of(&["a/b/*.html"]), Path::new("a/b"));
        assert_eq!(of(&["*.html"]), Path::new(""));
        assert_eq!(of(&["a/x.html"]), Path::new("a"));
        assert_eq!(of(&["a/*", "b/*"]), Path::new(""));
    }
}
