//! Globs of model names: `*` stands for any text, `?` for one character, and case does not matter. A slash is a
//! character as others are: `openai/*` and `*/gpt-4o` both mean what they seem to.

/// Whether the whole name is of the glob's form.
pub(super) fn matches(glob: &str, name: &str) -> bool {
    let fold = |text: &str| text.chars().map(|letter| letter.to_ascii_lowercase()).collect::<Vec<char>>();
    let (glob, name) = (fold(glob), fold(name));
    let (mut at, mut in_glob) = (0, 0);
    // Where the last star stands, and how much of the name it has taken. Only the last one need ever take more: what
    // came before it was matched as early as it could be.
    let mut star: Option<(usize, usize)> = None;
    while let Some(letter) = name.get(at) {
        match glob.get(in_glob) {
            Some('*') => {
                star = Some((in_glob, at));
                in_glob += 1;
            }
            Some(wanted) if wanted == letter || *wanted == '?' => {
                at += 1;
                in_glob += 1;
            }
            _ => match &mut star {
                Some((star_at, taken)) => {
                    *taken += 1;
                    at = *taken;
                    in_glob = *star_at + 1;
                }
                None => return false,
            },
        }
    }
    glob.iter().skip(in_glob).all(|letter| *letter == '*')
}

/// How much a glob says: of two that match, the one with more letters is meant, and a plain name before any.
pub(super) fn weight(glob: &str) -> (bool, usize) {
    let letters = glob.chars().filter(|letter| !matches!(letter, '*' | '?')).count();
    (letters == glob.chars().count(), letters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks() {
        for (glob, name, is_match) in [
            ("*", "", true),
            ("*", "anything/at:all", true),
            ("gpt-4o", "GPT-4o", true),
            ("gpt-4o", "gpt-4o-mini", false),
            ("gpt-4o*", "gpt-4o-mini", true),
            ("*embed*", "text-embedding-3-small", true),
            ("openai/*", "openai/gpt-4o", true),
            ("*/gpt-4?", "openai/gpt-4o", true),
            ("*/gpt-4?", "openai/gpt-4", false),
            ("*:free", "a/b:free", true),
            ("*:free", "a/b:free2", false),
            ("a*b*c", "axxbxxbc", true),
            ("a*b*c", "axxbxxb", false),
            ("**a**", "a", true),
            ("?", "é", true),
            ("", "a", false),
            ("a*aab", "aaaaaab", true),
        ] {
            assert_eq!(matches(glob, name), is_match, "{glob} {name}");
        }
    }

    #[test]
    fn many_stars_take_no_long_time() {
        let glob = "*a".repeat(100);
        assert!(!matches(&glob, &"a".repeat(99)));
        assert!(!matches(&format!("{glob}b"), &"a".repeat(2000)));
    }

    #[test]
    fn a_glob_that_says_more_weighs_more() {
        let rising = ["*", "g*", "gpt-*", "*gpt-4?", "gpt-4o*", "o3"];
        assert!(rising.windows(2).all(|pair| weight(pair[0]) < weight(pair[1])), "{rising:?}");
    }
}
