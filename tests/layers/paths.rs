//! As much of Rust as tells the paths of a file from what is none: comments, texts, letters and lifetimes are known,
//! `use` trees are taken apart, `self` and `super` resolved. It refuses to follow names: what a `use` brings in and what
//! a glob hides is the business of whoever reads the paths.

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    Word(String),
    Text(String),
    PathSep,
    Other(char),
}

pub(crate) fn tokens(text: &str) -> Vec<Token> {
    let letters: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < letters.len() {
        at = token(&letters, at, &mut tokens);
    }
    tokens
}

/// A path as the code names it, from a root: `crate` or a package.
pub(crate) struct Named {
    pub(crate) segments: Vec<String>,
    /// It stands in a unit test.
    pub(crate) is_test: bool,
}

/// Every path of two words or more, those of `use` trees one by one, with `self` and `super` resolved.
pub(crate) fn named(tokens: &[Token], module: &[String], is_test_file: bool) -> Vec<Named> {
    let tests_from = if is_test_file { 0 } else { test_module_start(tokens).unwrap_or(tokens.len()) };
    let mut found = Vec::new();
    let mut here: Vec<(usize, String)> = Vec::new();
    let (mut at, mut depth) = (0, 0);
    while at < tokens.len() {
        let (mut paths, start) = (Vec::new(), at);
        match &tokens[at] {
            Token::Other('{') => depth += 1,
            Token::Other('}') => {
                depth -= 1;
                here.retain(|(opened, _)| *opened <= depth);
            }
            Token::Word(word) if word == "use" => at = use_tree(tokens, at + 1, &[], &mut paths),
            Token::Word(word) if word == "mod" => {
                if let (Some(Token::Word(name)), Some(Token::Other('{'))) =
                    (tokens.get(at + 1), tokens.get(at + 2))
                {
                    here.push((depth + 1, name.clone()));
                }
            }
            Token::Word(_) if tokens.get(at + 1) == Some(&Token::PathSep) => {
                at = use_tree(tokens, at, &[], &mut paths);
            }
            _ => {}
        }
        let inner = here.iter().map(|(_, name)| name.clone());
        let module: Vec<String> = module.iter().cloned().chain(inner).collect();
        found.extend(
            paths
                .into_iter()
                .map(|path| Named { segments: resolved(path, &module), is_test: start >= tests_from }),
        );
        at += usize::from(at == start);
    }
    found
}

/// Where the tests at the foot of a file begin: `#[cfg(test)] mod tests {`.
pub(crate) fn test_module_start(tokens: &[Token]) -> Option<usize> {
    let word = |at: usize, word: &str| tokens.get(at) == Some(&Token::Word(word.to_string()));
    (0..tokens.len()).find(|at| {
        word(*at, "cfg")
            && tokens.get(at + 1) == Some(&Token::Other('('))
            && word(at + 2, "test")
            && tokens[at + 3..].iter().take(12).any(|token| *token == Token::Word("mod".to_string()))
    })
}

/// The paths of `a::{b, c::d as e}` from `at` on, and the place behind them.
fn use_tree(tokens: &[Token], at: usize, before: &[String], paths: &mut Vec<Vec<String>>) -> usize {
    let mut path = before.to_vec();
    let mut at = at;
    loop {
        match tokens.get(at) {
            Some(Token::PathSep) => {
                at += 1;
                continue;
            }
            Some(Token::Word(word)) => {
                path.push(word.clone());
                at += 1;
            }
            Some(Token::Other('*')) => {
                path.push("*".to_string());
                at += 1;
            }
            Some(Token::Other('{')) => {
                at += 1;
                loop {
                    match tokens.get(at) {
                        Some(Token::Other('}')) | None => break,
                        Some(Token::Other(',')) => at += 1,
                        Some(Token::Word(_) | Token::PathSep | Token::Other('*' | '{')) => {
                            at = use_tree(tokens, at, &path, paths);
                        }
                        Some(_) => at += 1,
                    }
                }
                return at + 1;
            }
            _ => break,
        }
        if tokens.get(at) != Some(&Token::PathSep) {
            break;
        }
    }
    if tokens.get(at).is_some_and(|token| *token == Token::Word("as".to_string())) {
        at += 2;
    }
    // `use a::{self}` names `a`.
    if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
        path.pop();
    }
    paths.push(path);
    at
}

/// `super` and `self` as the path they stand for.
fn resolved(path: Vec<String>, module: &[String]) -> Vec<String> {
    let mut supers = path.iter().take_while(|word| *word == "super" || *word == "self").peekable();
    if supers.peek().is_none() {
        return path;
    }
    let up =
        path.iter().take_while(|word| *word == "super" || *word == "self").filter(|word| *word == "super");
    let keep = module.len().saturating_sub(up.count());
    let rest = path.iter().skip_while(|word| *word == "super" || *word == "self").cloned();
    ["crate".to_string()].into_iter().chain(module[..keep].iter().cloned()).chain(rest).collect()
}

/// Takes the token at `at` and gives the place behind it.
fn token(letters: &[char], at: usize, tokens: &mut Vec<Token>) -> usize {
    let is = |at: usize, letter: char| letters.get(at) == Some(&letter);
    let letter = letters[at];
    match letter {
        _ if letter.is_whitespace() => at + 1,
        '/' if is(at + 1, '/') => at + letters[at..].iter().take_while(|letter| **letter != '\n').count(),
        '/' if is(at + 1, '*') => skip_comment(letters, at),
        ':' if is(at + 1, ':') => {
            tokens.push(Token::PathSep);
            at + 2
        }
        '"' => text(letters, at, 0, true, tokens),
        '\'' => skip_letter_or_lifetime(letters, at),
        _ if letter.is_alphanumeric() || letter == '_' => {
            let len = letters[at..].iter().take_while(|l| l.is_alphanumeric() || **l == '_').count();
            let word: String = letters[at..at + len].iter().collect();
            let end = at + len;
            let hashes = letters[end..].iter().take_while(|letter| **letter == '#').count();
            match word.as_str() {
                "b" | "c" if is(end, '"') => text(letters, end, 0, true, tokens),
                "b" if is(end, '\'') => skip_letter_or_lifetime(letters, end),
                "r" | "br" | "cr" if is(end + hashes, '"') => {
                    text(letters, end + hashes, hashes, false, tokens)
                }
                "r" if hashes == 1 => end + 1,
                _ => {
                    tokens.push(Token::Word(word));
                    end
                }
            }
        }
        _ => {
            tokens.push(Token::Other(letter));
            at + 1
        }
    }
}

/// Comments nest.
fn skip_comment(letters: &[char], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0);
    while at < letters.len() {
        match letters.get(at..at + 2) {
            Some(['/', '*']) => (at, depth) = (at + 2, depth + 1),
            Some(['*', '/']) => (at, depth) = (at + 2, depth - 1),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// The text whose opening quote stands at `at`; a raw one ends with a quote and as many hashes as it began with.
fn text(letters: &[char], at: usize, hashes: usize, escapes: bool, tokens: &mut Vec<Token>) -> usize {
    let mut end = at + 1;
    while end < letters.len() {
        let closes = letters[end] == '"'
            && letters[end + 1..].iter().take(hashes).filter(|l| **l == '#').count() == hashes;
        if closes {
            break;
        }
        end += if escapes && letters[end] == '\\' { 2 } else { 1 };
    }
    let end = end.min(letters.len());
    tokens.push(Token::Text(letters[at + 1..end].iter().collect()));
    end + 1 + hashes
}

/// `'a'` and `'\n'` are letters, `'a` is a lifetime.
fn skip_letter_or_lifetime(letters: &[char], at: usize) -> usize {
    if letters.get(at + 1) == Some(&'\\') {
        let rest = letters[at + 3..].iter().take_while(|letter| **letter != '\'').count();
        return at + 3 + rest + 1;
    }
    if letters.get(at + 2) == Some(&'\'') { at + 3 } else { at + 1 }
}
