//! The file of tokens: what it may hold, who may read it, and whose token is whose.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;

use stepscope::config::tokens::{Right, parse, read};
use stepscope::service::tokens::Tokens;

/// SHA-256 of `second`.
const SECOND: &str = "16367aacb67a4a017c8da8ab95682ccb390863780f7114dda0a0e0c55644c7c4";

fn file(text: &str, mode: u32) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
    file
}

fn two() -> String {
    format!(
        "[[token]]\nname = \"look\"\ntoken = \"first\"\nrights = [\"look\"]\n\n\
         [[token]]\nname = \"bench\"\nsha256 = \"{SECOND}\"\nrights = [\"look\", \"capture\"]\n"
    )
}

#[test]
fn a_token_is_found_by_itself_or_by_its_hash_and_no_other_is() {
    let tokens = Tokens::new(Some("all".into()), read(file(&two(), 0o600).path()).unwrap()).unwrap();
    let found =
        |brought: &str| tokens.find(brought.as_bytes()).map(|token| (token.name.to_string(), token.rights.clone()));
    assert_eq!(found("all"), Some(("token".to_owned(), Right::ALL.to_vec())));
    assert_eq!(found("first"), Some(("look".to_owned(), vec![Right::Look])));
    assert_eq!(found("second"), Some(("bench".to_owned(), vec![Right::Look, Right::Capture])));
    for wrong in ["", "firs", "firstt", "FIRST", SECOND, "bench"] {
        assert_eq!(found(wrong), None, "{wrong:?}");
    }
}

#[test]
fn a_file_that_others_may_read_is_refused_and_one_of_its_group_is_not() {
    for (mode, is_fine) in [(0o600, true), (0o400, true), (0o640, true), (0o644, false), (0o604, false), (0o602, false)]
    {
        let answer = read(file(&two(), mode).path());
        assert_eq!(answer.is_ok(), is_fine, "{mode:o}");
        if let Err(error) = answer {
            assert!(error.to_string().contains("chmod"), "{error}");
        }
    }
    let folder = tempfile::tempdir().unwrap();
    assert!(read(folder.path()).unwrap_err().to_string().contains("is no file"));
}

#[test]
fn what_is_wrong_with_a_file_is_said_and_no_token_is_shown() {
    let cases = [
        ("", "names no token"),
        ("[[token]]\nname = \"a\"\ntoken = hush\nrights = [\"look\"]", "line 3"),
        ("[[token]]\nname = \"a\"\ntoken = \"hush\"\nrights = [\"look\", \"hush\"]", "line 4: "),
        ("[[token]]\nname = \"a\"\ntoken = [\"hush\"]\nrights = [\"look\"]", "line 3: "),
        ("[[token]]\nname = \"a\"\ntoken = \"hush\"\nrights = []", "no rights"),
        ("[[token]]\nname = \"a\"\ntoken = \"hush\"", "missing field `rights`"),
        ("[[token]]\nname = \"a\"\ntokn = \"hush\"\nrights = [\"look\"]", "unknown field `tokn`"),
        ("[[token]]\nname = \"a b\"\ntoken = \"hush\"\nrights = [\"look\"]", "a name is"),
        ("[[token]]\nname = \"a\"\ntoken = \"hush hush\"\nrights = [\"look\"]", "visible ASCII"),
        ("[[token]]\nname = \"a\"\nsha256 = \"hush\"\nrights = [\"look\"]", "64 hexadecimal"),
        ("[[token]]\nname = \"a\"\nrights = [\"look\"]", "one of"),
        ("[[token]]\nname = \"a\"\ntoken = \"hush\"\nsha256 = \"hush\"\nrights = [\"look\"]", "one of"),
    ];
    for (text, expected) in cases {
        let said = parse(text).unwrap_err();
        // A right that nobody knows is shown, so that it can be mended; it is no secret.
        assert!(said.contains(expected) && (!said.contains("hush") || text.contains(", \"hush\"]")), "{text}: {said}");
    }
}

#[test]
fn two_tokens_that_nobody_could_tell_apart_are_refused() {
    let twice = two().replace("\"bench\"", "\"look\"");
    assert!(Tokens::new(None, parse(&twice).unwrap()).unwrap_err().contains("one name"));
    let same = two().replace("\"first\"", "\"second\"");
    assert!(Tokens::new(None, parse(&same).unwrap()).unwrap_err().contains("apart"));
    assert!(Tokens::new(Some("first".into()), parse(&two()).unwrap()).is_err());
}
