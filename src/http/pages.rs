//! [`problem_page`], what the URI of a problem leads to.

/// One section for each problem, under its `reason`.
const PROBLEMS: &str = include_str!("../docs/problems.md");

/// The page of a problem by its `reason`, in Markdown: what happened, what the client does, an example. `None` where this
/// crate has no such problem. [`docs::problems`](crate::docs::problems) has all of them.
///
/// The `type` of a problem is `/problems/` and its reason: a service that answers this there makes it a link.
///
/// ```
/// use ifmatch::http;
///
/// assert!(http::problem_page("stale").unwrap().starts_with("## stale\n"));
/// assert_eq!(http::problem_page("of-somebody-else"), None);
/// ```
pub fn problem_page(reason: &str) -> Option<&'static str> {
    let mut starts = PROBLEMS.match_indices("\n## ").map(|(at, _)| at + 1).peekable();
    while let Some(start) = starts.next() {
        let page = &PROBLEMS[start..starts.peek().copied().unwrap_or(PROBLEMS.len())];
        if page.lines().next().and_then(|line| line.strip_prefix("## ")) == Some(reason) {
            return Some(page);
        }
    }
    None
}
