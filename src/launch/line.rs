//! A line `nsys profile OPTIONS COMMAND`, with its options by their long names.
//!
//! Every option of `nsys profile` takes a value and may be given once (2022.4), as `--name=value`, `--name value`,
//! `-n value` or `-nvalue`; the first word that is no option begins the command.

use std::fmt;
use std::path::Path;

/// Short options and what they are short for (`nsys profile --help`, 2022.4).
const SHORT: &[(char, &str)] = &[
    ('b', "backtrace"),
    ('c', "capture-range"),
    ('d', "duration"),
    ('e', "env-var"),
    ('f', "force-overwrite"),
    ('h', "help"),
    ('n', "inherit-environment"),
    ('o', "output"),
    ('p', "nvtx-capture"),
    ('s', "sample"),
    ('t', "trace"),
    ('w', "show-output"),
    ('x', "stop-on-exit"),
    ('y', "delay"),
];

/// The line, in parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Variables in front of it.
    pub environment: Vec<(String, String)>,
    /// nsys itself.
    pub program: String,
    /// Long name without dashes, and value; in the order given.
    pub options: Vec<(String, String)>,
    /// What is profiled.
    pub command: Vec<String>,
}

impl Line {
    /// Reads the words of a process. `None`: not an `nsys profile`.
    pub fn parse(words: &[String]) -> Option<Self> {
        let [program, verb, rest @ ..] = words else { return None };
        if Path::new(program).file_name()? != "nsys" || verb != "profile" {
            return None;
        }
        let mut line =
            Self { environment: Vec::new(), program: program.clone(), options: Vec::new(), command: Vec::new() };
        let mut words = rest.iter();
        while let Some(word) = words.next() {
            let Some((name, value)) = option(word) else {
                line.command = std::iter::once(word).chain(words).cloned().collect();
                break;
            };
            let value = value.or_else(|| words.next().cloned()).unwrap_or_default();
            line.options.push((name, value));
        }
        Some(line)
    }

    /// The value of an option, by its long name. An empty one counts as given.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.options.iter().rev().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// Gives an option this value, where it stands or at the end.
    pub fn set(&mut self, name: &str, value: &str) {
        match self.options.iter_mut().find(|(n, _)| n == name) {
            Some(option) => option.1 = value.to_owned(),
            None => self.options.push((name.to_owned(), value.to_owned())),
        }
    }

    /// As `execve` wants it: without the variables.
    pub fn words(&self) -> Vec<String> {
        let options = self.options.iter().map(|(name, value)| format!("--{name}={value}"));
        [self.program.clone(), "profile".into()]
            .into_iter()
            .chain(options)
            .chain(self.command.iter().cloned())
            .collect()
    }
}

/// An option's long name, and its value if it is part of the word. `None`: no option.
pub fn option(word: &str) -> Option<(String, Option<String>)> {
    let (name, value) = match word.strip_prefix("--") {
        Some(long) => long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value))),
        None => {
            let short = word.strip_prefix('-')?;
            let letter = short.chars().next()?;
            let name = SHORT.iter().find(|(l, _)| *l == letter).map(|(_, name)| *name)?;
            let value = short.get(letter.len_utf8()..).filter(|v| !v.is_empty());
            (name, value.map(|v| v.strip_prefix('=').unwrap_or(v)))
        }
    };
    (!name.is_empty()).then(|| (name.to_owned(), value.map(str::to_owned)))
}

impl fmt::Display for Line {
    /// Ready to be pasted into a shell.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.environment {
            write!(f, "{name}={} ", quoted(value))?;
        }
        let words: Vec<String> = self.words().iter().map(|word| quoted(word)).collect();
        f.write_str(&words.join(" "))
    }
}

/// A word as a POSIX shell takes it, unchanged.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./,:@%+^".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn all_spellings_of_an_option_are_read_alike() {
        for text in [
            "/opt/nsys profile -t nvtx -c nvtx -p capture@stepscope vllm serve -t m",
            "nsys profile --trace=nvtx --capture-range nvtx -pcapture@stepscope vllm serve -t m",
            "nsys profile --trace nvtx -c=nvtx --nvtx-capture=capture@stepscope vllm serve -t m",
        ] {
            let line = Line::parse(&words(text)).expect(text);
            assert_eq!(line.get("trace"), Some("nvtx"), "{text}");
            assert_eq!(line.get("capture-range"), Some("nvtx"), "{text}");
            assert_eq!(line.get("nvtx-capture"), Some("capture@stepscope"), "{text}");
            assert_eq!(line.command, ["vllm", "serve", "-t", "m"], "{text}");
        }
        for text in ["nsys launch -t nvtx app", "vllm serve m", "nsys", ""] {
            assert_eq!(Line::parse(&words(text)), None, "{text}");
        }
    }

    #[test]
    fn a_line_is_written_so_that_a_shell_reads_it_back() {
        let mut line = Line::parse(&words("nsys profile -o x app")).expect("a line");
        line.set("output", "it's here");
        line.set("trace", "cuda,nvtx");
        line.command = vec!["sh".into(), "-c".into(), "echo \"$HOME\" > a*b".into(), String::new()];
        line.environment.push(("A".into(), "b c".into()));
        let text = line.to_string();
        let script = format!("printf '%s\\n' {}", &text["A='b c' ".len()..]);
        let out = std::process::Command::new("sh").args(["-c", &script]).output().expect("a shell");
        let printed = String::from_utf8(out.stdout).expect("text");
        assert_eq!(printed.lines().collect::<Vec<_>>(), line.words());
        assert!(text.starts_with("A='b c' nsys profile '--output=it'\\''s here' --trace=cuda,nvtx sh -c "), "{text}");
    }
}
