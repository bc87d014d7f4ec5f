//! A source of assignments: what it holds now, and what comes.

use std::{future::pending, sync::Arc};

use tokio::sync::watch;

/// The values of a source as they come; `None` before the first.
pub type News<T> = watch::Receiver<Option<Arc<T>>>;

/// A source: what it holds now, and what comes.
#[derive(Debug)]
pub(super) struct Followed<T> {
    pub(super) current: Option<Arc<T>>,
    news: Option<News<T>>,
}

impl<T> Default for Followed<T> {
    fn default() -> Self {
        Self { current: None, news: None }
    }
}

impl<T> Followed<T> {
    pub(super) fn is_used(&self) -> bool {
        self.current.is_some() || self.news.is_some()
    }

    pub(super) fn is_awaited(&self) -> bool {
        self.current.is_none() && self.news.is_some()
    }

    /// Waits for the next value, or the first; forever, if none can come.
    pub(super) async fn next(&mut self) -> Arc<T> {
        if let Some(news) = &mut self.news {
            while news.changed().await.is_ok() {
                if let Some(value) = &*news.borrow_and_update() {
                    return Arc::clone(value);
                }
            }
        }
        pending().await
    }

    /// Follows what comes, beginning with what is there.
    pub(super) fn follow(&mut self, news: Option<News<T>>) {
        self.news = news;
        self.news.iter_mut().for_each(News::mark_changed);
    }
}
