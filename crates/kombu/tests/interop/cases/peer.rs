//! What talks to us.

use serde_json::json;

use crate::case::cases;
use crate::failure::Result;
use crate::pair::Pair;
use crate::peer::Peer;

cases! {
    is_the_kombu_that_is_meant ["from python"];
    says_what_went_wrong ["from python"];
}

async fn is_the_kombu_that_is_meant(pair: &mut Pair) -> Result<()> {
    let mut peer = Peer::start(pair.stage.ground())?;
    let about = peer.ask("about", json!({})).await?;
    assert_eq!(about["kombu"], "5.7.0", "{about}");
    Ok(())
}

/// A peer that never failed would make every other case worthless.
async fn says_what_went_wrong(pair: &mut Pair) -> Result<()> {
    let mut peer = Peer::start(pair.stage.ground())?;
    let failure = peer.ask("no-such-request", json!({})).await.err();
    assert_eq!(failure.map(|failure| failure.kind).as_deref(), Some("ValueError"));
    // It goes on.
    peer.ask("about", json!({})).await?;
    Ok(())
}
