//! [`Article`], the value that every contender stores, and the ids it is stored under.

use std::sync::Arc;

/// A value of about 250 bytes in six heap blocks, as a deserialized record of a web service is.
#[derive(Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Article {
    pub title: String,
    pub body: String,
    pub author: String,
    /// The id of another article: reading along these is a chain of look-ups of which none can begin before the one
    /// before has ended, so the processor can't hide a cache miss behind the next one.
    pub next: String,
    pub tags: Vec<String>,
}

impl Article {
    pub fn new(number: usize, next: String) -> Self {
        Self {
            title: format!("Article {number:016}"),
            body: "lorem ipsum ".repeat(15),
            author: format!("author-{:09}", number % 1000),
            next,
            tags: vec![format!("tag-{:04}", number % 100)],
        }
    }
}

/// The id of an article: 16 bytes.
pub fn id(number: usize) -> String {
    format!("article-{number:08}")
}

/// The number that an id ends in.
pub fn number(id: &str) -> usize {
    id[8..].parse().expect("an id ends in its number")
}

/// Ids in an order without order, each with its article. Each article names the next one, and the last the first.
pub fn articles(count: usize) -> Vec<(String, Arc<Article>)> {
    let order = shuffled(count);
    let next = |place: usize| id(order[(place + 1) % count]);
    let made = order.iter().enumerate().map(|(place, &number)| Article::new(number, next(place)));
    let mut made: Vec<(String, Arc<Article>)> =
        order.iter().copied().map(id).zip(made.map(Arc::new)).collect();
    // Another order than that of the chain, or a walk along it would find its articles side by side in memory.
    for (place, other) in shuffled(count).into_iter().enumerate() {
        made.swap(place, other);
    }
    // The articles themselves were made in the order of the chain: these are not.
    made.into_iter().map(|(id, article)| (id, Arc::new(Article::clone(&article)))).collect()
}

/// The numbers below `count` in the same shuffled order each time.
pub fn shuffled(count: usize) -> Vec<usize> {
    let mut numbers: Vec<usize> = (0..count).collect();
    let mut random = Random::new(count as u64);
    for place in (1..count).rev() {
        numbers.swap(place, random.below(place + 1));
    }
    numbers
}

/// Numbers that look random and are the same each time (xorshift64*).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    #[inline]
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let drawn = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32;
        (drawn as usize * limit) >> 32
    }
}
