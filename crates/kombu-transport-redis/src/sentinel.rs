//! Asks sentinels which server is the master.

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use kombu_core::{Error, ErrorKind, Result};

use crate::driver::Link;
use crate::place::{Login, Place};

/// The sentinels of a group of servers.
#[derive(Clone, Debug)]
pub(crate) struct Sentinels {
    pub(crate) places: Vec<Place>,
    pub(crate) login: Login,
    pub(crate) master_name: String,
    pub(crate) min_others: u32,
}

impl Sentinels {
    /// Asks all sentinels at once, until most of them agree. The answers come in the order of how
    /// many sentinels gave them: one that lost touch with the others may name a server that was
    /// the master.
    pub(crate) async fn masters(&self) -> Result<Vec<Place>> {
        let mut answers: FuturesUnordered<_> =
            self.places.iter().map(|place| self.ask(place)).collect();
        let mut found: Vec<(usize, Place)> = Vec::new();
        let mut failure = None;
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(place) => match found.iter_mut().find(|(_, have)| *have == place) {
                    Some((votes, _)) => *votes += 1,
                    None => found.push((1, place)),
                },
                Err(error) => failure = Some(error),
            }
            // One that is silent is not waited for.
            if found.iter().any(|(votes, _)| votes * 2 > self.places.len()) {
                break;
            }
        }
        if let (true, Some(error)) = (found.is_empty(), failure) {
            return Err(error);
        }
        found.sort_by_key(|(votes, _)| std::cmp::Reverse(*votes));
        Ok(found.into_iter().map(|(_, place)| place).collect())
    }

    async fn ask(&self, sentinel: &Place) -> Result<Place> {
        let link = Link::connect(sentinel, &self.login).await?;
        let answer = self.ask_on(&link).await.map_err(|error| error.with("sentinel", sentinel));
        link.close().await;
        answer
    }

    async fn ask_on(&self, link: &Link) -> Result<Place> {
        let name = Bytes::from(self.master_name.clone());
        let ask = |what: &'static str| vec![Bytes::from_static(what.as_bytes()), name.clone()];
        let address = link.call(b"", "SENTINEL", ask("GET-MASTER-ADDR-BY-NAME")).await?;
        let address = address.into_all_bytes()?;
        let text =
            |part: Option<&Bytes>| part.map(|part| String::from_utf8_lossy(part).into_owned());
        let host = text(address.first());
        let port = text(address.get(1)).and_then(|port| port.parse().ok());
        let (Some(host), Some(port)) = (host, port) else {
            return Err(Error::new(
                ErrorKind::NotFound,
                format!(
                    "the sentinel knows no master {:?}; see option master_name",
                    self.master_name
                ),
            ));
        };
        if self.min_others > 0 {
            let others = link.call(b"", "SENTINEL", ask("SENTINELS")).await?.into_list()?.len();
            if u32::try_from(others).unwrap_or(u32::MAX) < self.min_others {
                return Err(Error::lost(format!(
                    "the sentinel knows {others} others, and {} are wanted",
                    self.min_others
                )));
            }
        }
        Ok(Place::Tcp { host, port })
    }
}
