//! Reading our own sources as text.

use std::path::{Path, PathBuf};

/// The top of the repository.
pub fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// One source file.
#[derive(Debug)]
pub struct Source {
    /// Path below the top, with slashes.
    pub path: String,
    /// The whole text.
    pub text: String,
    /// The text without comments.
    pub code: String,
}

impl Source {
    /// First folder (or file stem) below `src/`.
    pub fn room(&self) -> &str {
        let inside = self.path.strip_prefix("src/").unwrap_or(&self.path);
        inside.split('/').next().unwrap().trim_end_matches(".rs")
    }

    /// The last part of the path.
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap()
    }
}

/// All files with one of `extensions` below `folder`, sorted; what git does not keep is left out.
pub fn sources(folder: &str, extensions: &[&str]) -> Vec<Source> {
    let mut paths = Vec::new();
    walk(&top().join(folder), &mut paths);
    paths.retain(|p| p.extension().is_some_and(|e| extensions.iter().any(|wanted| e == *wanted)));
    paths.sort();
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        let mark = if path.extension().is_some_and(|e| e == "py") { "#" } else { "//" };
        Source {
            path: path.strip_prefix(top()).unwrap().to_str().unwrap().to_owned(),
            code: without_comments(&text, mark),
            text,
        }
    };
    paths.into_iter().map(read).collect()
}

fn walk(folder: &Path, out: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.map(Result::unwrap) {
        let path = entry.path();
        let name = entry.file_name();
        let name = name.to_str().unwrap();
        if entry.file_type().unwrap().is_dir() {
            if !name.starts_with('.') && !matches!(name, "target" | "__pycache__" | "build" | "dist" | "_lib") {
                walk(&path, out);
            }
        } else {
            out.push(path);
        }
    }
}

/// Drops what follows a comment mark at the beginning of a line or behind a space. A mark inside a string goes too:
/// what is looked for here never stands behind one.
fn without_comments(text: &str, mark: &str) -> String {
    let behind = format!(" {mark}");
    let code = |line: &str| {
        if line.trim_start().starts_with(mark) {
            return String::new();
        }
        line.split_once(&behind).map_or(line, |(before, _)| before).to_owned()
    };
    text.lines().map(code).collect::<Vec<_>>().join("\n")
}

/// Every path in `code` that begins with `root` (such as `crate::`), braces spelled out, without the root.
pub fn paths_below(code: &str, root: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices(root) {
        let before = code[..at].chars().next_back();
        if !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':' || c == '$') {
            spell(&mut code[at + root.len()..].chars().peekable(), "", &mut found);
        }
    }
    found
}

fn spell(rest: &mut std::iter::Peekable<std::str::Chars<'_>>, before: &str, out: &mut Vec<String>) {
    let mut path = before.to_owned();
    loop {
        match rest.peek().copied() {
            Some(c) if c.is_alphanumeric() || c == '_' || c == '*' => {
                path.push(c);
                rest.next();
            }
            Some(':') => {
                rest.next();
                if rest.peek() != Some(&':') {
                    break;
                }
                rest.next();
                path.push_str("::");
            }
            Some('{') => {
                rest.next();
                loop {
                    while rest.next_if(|c| c.is_whitespace() || *c == ',').is_some() {}
                    match rest.peek() {
                        None => return,
                        Some('}') => {
                            rest.next();
                            return;
                        }
                        Some(_) => spell(rest, &path, out),
                    }
                    // `as name` of a member.
                    while rest.next_if(|c| *c != ',' && *c != '}').is_some() {}
                }
            }
            _ => break,
        }
    }
    out.push(path.trim_end_matches("::").trim_end_matches("::self").to_owned());
}

#[test]
fn paths_are_found_and_spelled_out() {
    let code = "use crate::wire::{gate::{self, State}, record::Words as W, clock};\nlet x = crate::wire::names::get(a);\n\
                pub(crate) use mycrate::no;";
    let expected = ["wire::gate", "wire::gate::State", "wire::record::Words", "wire::clock", "wire::names::get"];
    assert_eq!(paths_below(code, "crate::"), expected);
}
