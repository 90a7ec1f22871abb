//! Lists of names that fit in a line of the terminal.

use console::Term;

/// How wide the results are where they are not on a terminal.
const USUAL: u16 = 100;

/// As many names as fit in what a line has left behind `before` columns, and how many there are more.
pub(super) fn fitting(names: &[&str], before: usize) -> String {
    let terminal = Term::stdout();
    let width = terminal
        .size_checked()
        .map_or(USUAL, |(_, columns)| columns);
    fitting_in(names, usize::from(width).saturating_sub(before))
}

/// At least one name, however narrow it is.
fn fitting_in(names: &[&str], width: usize) -> String {
    let whole = names.join(", ");
    if whole.chars().count() <= width {
        return whole;
    }
    let mut text = String::new();
    for (number, name) in names.iter().enumerate() {
        let more = format!(" and {} more", names.len() - number);
        let next = text.chars().count() + name.chars().count() + 2;
        if number > 0 && next + more.len() > width {
            return text + &more;
        }
        if number > 0 {
            text.push_str(", ");
        }
        text.push_str(name);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::fitting_in;

    #[test]
    fn a_list_is_whole_or_says_how_many_more_there_are() {
        let names = ["acme", "globex", "initech", "umbrella"];
        assert_eq!(fitting_in(&names, 31), "acme, globex, initech, umbrella");
        assert_eq!(fitting_in(&names, 30), "acme, globex and 2 more");
        assert_eq!(fitting_in(&names, 23), "acme, globex and 2 more");
        assert_eq!(fitting_in(&names, 22), "acme and 3 more");
        assert_eq!(fitting_in(&names, 1), "acme and 3 more");
        assert_eq!(fitting_in(&names[..1], 1), "acme");
        assert_eq!(fitting_in(&[], 9), "");
    }
}
