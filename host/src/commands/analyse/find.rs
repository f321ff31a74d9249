//! Display filters and texts that are looked for, in the background.

use super::app::{App, View};
use super::listing::{Filter, Listing, share};
use super::prompt::{Asked, Edited, Prompt};
use std::sync::Arc;
use veilwatch::analyser::{Search, Sought};
use veilwatch::output::plain;
use veilwatch::query::{Level, PacketQuery, QueryError};

/// A display filter while it is written: the last expression that was right is at work, as far as it has come.
pub(super) struct Writing {
    /// What was listed before.
    before: Listing,
    /// Where somebody was then.
    number: Option<u64>,
    /// What is wrong with the text as it is.
    pub(super) error: Option<QueryError>,
}

/// A text that is looked for.
pub(super) struct Finding {
    text: String,
    search: Arc<Search>,
    /// From this packet on; nothing once it was found.
    pub(super) from: Option<u64>,
}

/// Names of fields that are shown beside each other.
pub(super) const CHOICES: usize = 8;

impl App {
    /// Begins to ask for a filter.
    pub(super) fn ask_filter(&mut self) {
        let text = match &self.listing {
            Listing::Filter(filter) => filter.text.clone(),
            Listing::All | Listing::Flow { .. } => String::new(),
        };
        let number = self.stay.or_else(|| self.number(self.at));
        self.writing = Some(Writing { before: self.listing.clone(), number, error: None });
        self.view = View::Packets;
        self.prompt = Some(Prompt::new(Asked::Filter, &text));
    }

    /// What keys made of the text of a filter.
    pub(super) fn filter_edited(&mut self, edited: Edited) {
        let Some(text) = self.prompt.as_ref().map(|prompt| prompt.text.clone()) else { return };
        match edited {
            Edited::Nothing => {}
            Edited::Changed => self.try_filter(&text),
            Edited::Entered => {
                self.try_filter(&text);
                let is_wrong = self.writing.as_ref().is_some_and(|writing| writing.error.is_some());
                if !is_wrong {
                    self.prompt = None;
                    // What was listed before comes back no more.
                    if let Some(Writing { before: Listing::Filter(before), .. }) = self.writing.take()
                        && !matches!(&self.listing, Listing::Filter(now) if Arc::ptr_eq(&now.search, &before.search))
                    {
                        before.search.stop();
                    }
                }
            }
            Edited::GivenUp => {
                self.prompt = None;
                if let Some(Writing { before, number, .. }) = self.writing.take() {
                    self.list(before, number);
                }
            }
        }
    }

    /// Lists what the text says, if it says something; else what is listed stays.
    fn try_filter(&mut self, text: &str) {
        let number = self.writing.as_ref().and_then(|writing| writing.number).or_else(|| self.number(self.at));
        let wanted = text.trim();
        let outcome = if wanted.is_empty() {
            self.list(Listing::All, number);
            Ok(())
        } else {
            PacketQuery::new(text, &self.fields).map(|query| {
                let is_another = match &self.listing {
                    Listing::Filter(filter) => filter.text != wanted || filter.is_cut(),
                    Listing::All | Listing::Flow { .. } => true,
                };
                if is_another {
                    let search = self.search(Sought::Query(Box::new(query)));
                    self.list(Listing::Filter(Filter { text: wanted.to_owned(), search }), number);
                }
            })
        };
        if let Some(writing) = &mut self.writing {
            writing.error = outcome.err();
        }
    }

    fn search(&mut self, sought: Sought) -> Arc<Search> {
        let search = Arc::new(Search::new(sought));
        if let Err(error) = self.work.search(&search) {
            self.message = plain(&format!("{error:#}"));
            search.stop();
        }
        search
    }

    /// Lists other packets; of those that were listed none is looked for any more, unless they are what comes back on
    /// giving up.
    fn list(&mut self, listing: Listing, number: Option<u64>) {
        let old = std::mem::replace(&mut self.listing, listing);
        if let Listing::Filter(old) = old {
            let is = |listing: &Listing| matches!(listing, Listing::Filter(it) if Arc::ptr_eq(&it.search, &old.search));
            let comes_back = self.writing.as_ref().is_some_and(|writing| is(&writing.before));
            if !comes_back && !is(&self.listing) {
                old.search.stop();
            }
        }
        self.follows = false;
        // Somebody who looks at a packet looks at it on, where it is still listed.
        self.stay = number.filter(|_| matches!(self.listing, Listing::Filter(_)));
        self.at = number.map_or(0, |number| self.listing.line_from(&self.work, number));
        self.top = self.at.saturating_sub(usize::from(self.areas.list.height) / 2);
    }

    /// Lists all packets again.
    pub(super) fn list_all(&mut self) {
        let number = self.number(self.at);
        self.list(Listing::All, number);
    }

    /// Lists those of a flow.
    pub(super) fn list_flow(&mut self, numbers: Vec<u64>, of: u64) {
        self.list(Listing::Flow { numbers, of }, Some(of));
    }

    /// The fields whose names begin like the word at the cursor.
    pub(super) fn choices(&self) -> Vec<(&str, &str)> {
        let Some(prompt) = self.prompt.as_ref().filter(|prompt| prompt.what == Asked::Filter) else {
            return Vec::new();
        };
        let completion = self.fields.complete_at(Level::Packet, &prompt.text, prompt.cursor);
        if completion.replaces.is_empty() {
            return Vec::new();
        }
        completion.fields.iter().map(|field| (field.name, field.words)).collect()
    }

    /// Writes on as far as all fields that could be meant have the same letters.
    pub(super) fn complete(&mut self) {
        let Some(prompt) = &mut self.prompt else { return };
        let completion = self.fields.complete_at(Level::Packet, &prompt.text, prompt.cursor);
        let Some(first) = completion.fields.first() else { return };
        let same = |other: &str| first.name.bytes().zip(other.bytes()).take_while(|(one, two)| one == two).count();
        let length = completion.fields.iter().map(|field| same(field.name)).min().unwrap_or_default();
        let shared = first.name.get(..length).unwrap_or_default().to_owned();
        prompt.replace(completion.replaces, &shared);
        self.filter_edited(Edited::Changed);
    }

    /// Begins to look for the next packet whose line has a text; for the last one again where it is empty.
    pub(super) fn find(&mut self, text: &str) {
        let from = self.number(self.at).unwrap_or_default();
        if let Some(finding) = &mut self.finding
            && (text.is_empty() || text == finding.text)
        {
            finding.from = Some(from);
            return self.found();
        }
        let Some(sought) = Sought::text(text) else {
            self.message = "write a text of at most 1,000 bytes".to_owned();
            return;
        };
        self.stop_finding();
        let search = self.search(sought);
        self.finding = Some(Finding { text: text.to_owned(), search, from: Some(from) });
        self.found();
    }

    /// Whether the text was found meanwhile, behind the packet from which it is looked for, else before it.
    pub(super) fn found(&mut self) {
        let Some(Finding { text, search, from: Some(from) }) = &self.finding else { return };
        let (from, found) = (*from, search.found());
        let filter = match &self.listing {
            Listing::Filter(Filter { search, .. }) => Some((search.found(), search.has_ended() || search.is_whole())),
            Listing::All | Listing::Flow { .. } => None,
        };
        let is_listed = |number: &&u32| match &filter {
            Some((listed, _)) => listed.binary_search(number).is_ok(),
            None => self.listing.line(&self.work, u64::from(**number)).is_some(),
        };
        let behind = found.partition_point(|number| u64::from(*number) <= from);
        let next = found.get(behind..).unwrap_or_default().iter().find(is_listed);
        // On an interface more may come at any time, and nobody waits for it.
        let all = self.work.shared.index().len();
        let looked_at_all = search.has_ended() || search.is_whole() && search.looked() >= all;
        let (ended, stopped) = (looked_at_all && filter.as_ref().is_none_or(|(_, whole)| *whole), search.is_stopped());
        let wrapped = found.get(..behind).unwrap_or_default().iter().find(is_listed).filter(|_| ended);
        let hit = next.or(wrapped).map(|number| u64::from(*number));
        drop(filter);
        let message = match hit {
            Some(number) => {
                let at = found.partition_point(|known| u64::from(*known) < number) + 1;
                let so_far = if search.has_ended() { "" } else { " so far" };
                format!("{at} of {} with “{}”{so_far}", found.len(), plain(text))
            }
            None if stopped => "looking was stopped".to_owned(),
            None if ended && !found.is_empty() => format!("no listed packet has “{}” in its line", plain(text)),
            None if ended => format!("no packet has “{}” in its line", plain(text)),
            None => {
                let looked = share(search.looked(), all);
                format!("looking for “{}”: {looked} %; Esc stops", plain(text))
            }
        };
        drop(found);
        self.message = message;
        if hit.is_some() || ended || stopped {
            self.finding.iter_mut().for_each(|finding| finding.from = None);
        }
        // Whoever looks at something else meanwhile is told, and not taken away from it.
        if let Some(number) = hit.filter(|_| self.view == View::Packets && self.prompt.is_none()) {
            self.go_to(number);
        }
    }

    /// Ends what is looked for; says whether anything was.
    pub(super) fn stop_searches(&mut self) -> bool {
        if self.finding.as_ref().is_some_and(|finding| finding.from.is_some()) {
            self.stop_finding();
            self.message = "looking was stopped".to_owned();
            return true;
        }
        if let Listing::Filter(filter) = &self.listing
            && !filter.search.is_whole()
            && !filter.search.is_stopped()
        {
            filter.search.stop();
            self.message = "stopped; Esc again lists all packets".to_owned();
            return true;
        }
        false
    }

    fn stop_finding(&mut self) {
        self.finding.take().into_iter().for_each(|finding| finding.search.stop());
    }
}
