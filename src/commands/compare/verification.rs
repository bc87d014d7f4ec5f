//! The first pass: each review once to each side, one at a time, and what the answers make of it.

use std::sync::Arc;

use anyhow::bail;
use indicatif::ProgressBar;

use super::{answer::Answer, client::Client, difference::Difference, review::Review, sides::Side};

/// What the answers to all reviews come to.
#[derive(Debug, Default)]
pub(super) struct Verification {
    /// How many reviews there are.
    pub(super) reviews: usize,
    /// The differences, by the name of the review.
    pub(super) differences: Vec<(String, Vec<Difference>)>,
    /// The reviews that no side gives an answer to, with the first side's error.
    pub(super) unanswered: Vec<(String, String)>,
}

/// Asks and compares. The error is that there is nothing to compare: a side can't be reached, or no review is answered.
pub(super) async fn verify(
    sides: &[Arc<Side>],
    reviews: &[Review],
    bar: &ProgressBar,
) -> anyhow::Result<Verification> {
    let mut clients: Vec<Client> = sides.iter().map(|side| Client::new(Arc::clone(side))).collect();
    let mut verification = Verification { reviews: reviews.len(), ..Verification::default() };
    for review in bar.wrap_iter(reviews.iter()) {
        let mut answers = Vec::new();
        for client in &mut clients {
            answers.push(Answer::of(review, client.ask(review.body.clone()).await?.reply));
        }
        verification.add(&review.name, &answers);
    }
    match verification.unanswered.first() {
        Some((review, error)) if verification.unanswered.len() == reviews.len() => {
            bail!("{}: no review is answered: {review}: {error}", sides[0])
        }
        _ => Ok(verification),
    }
}

impl Verification {
    fn add(&mut self, review: &str, answers: &[Answer]) {
        if let [baseline, candidate] = answers {
            let differences = Difference::between(baseline, candidate);
            if !differences.is_empty() {
                self.differences.push((review.to_owned(), differences));
            }
        }
        if answers.iter().all(|answer| matches!(answer, Answer::Failed(_)))
            && let Some(Answer::Failed(error)) = answers.first()
        {
            self.unanswered.push((review.to_owned(), error.clone()));
        }
    }
}
