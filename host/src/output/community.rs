use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};
use veilwatch_core::flow::{Endpoint, FlowRecord};

/// Community ID version 1 with seed 0 (Corelight's specification): the same for a flow in any tool that knows it.
pub(crate) fn community_id(flow: &FlowRecord) -> String {
    let (low, high) = if flow.originator <= flow.responder {
        (flow.originator, flow.responder)
    } else {
        (flow.responder, flow.originator)
    };
    let mut hasher = Sha1::new();
    hasher.update([0, 0]);
    let address = |endpoint: &Endpoint| {
        if endpoint.is_ipv4() { endpoint.address[12..].to_vec() } else { endpoint.address.to_vec() }
    };
    hasher.update(address(&low));
    hasher.update(address(&high));
    hasher.update([flow.protocol, 0]);
    hasher.update(low.port.to_be_bytes());
    hasher.update(high.port.to_be_bytes());
    format!("1:{}", STANDARD.encode(hasher.finalize()))
}
