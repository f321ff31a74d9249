//! What every answer tells the browser.

use rocket::fairing::{Fairing, Info, Kind};
use rocket::http::Header;
use rocket::{Request, Response};

use crate::portal::Portal;

/// Nothing is loaded from anywhere else, nothing inline is run, nobody frames us.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self'; connect-src 'self'; \
                                           form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
/// The portal needs none of what a browser could offer.
pub const PERMISSIONS_POLICY: &str = "accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), \
                                      magnetometer=(), microphone=(), payment=(), usb=()";
/// Two years of HTTPS, once it is there.
pub const STRICT_TRANSPORT_SECURITY: &str = "max-age=63072000";

/// Sets the security headers on every answer, the error pages' too.
#[derive(Clone, Copy, Debug)]
pub struct SecurityHeaders;

#[rocket::async_trait]
impl Fairing for SecurityHeaders {
    fn info(&self) -> Info {
        Info { name: "security headers", kind: Kind::Response }
    }

    async fn on_response<'r>(&self, request: &'r Request<'_>, response: &mut Response<'r>) {
        response.set_header(Header::new("Content-Security-Policy", CONTENT_SECURITY_POLICY));
        response.set_header(Header::new("X-Content-Type-Options", "nosniff"));
        response.set_header(Header::new("Referrer-Policy", "no-referrer"));
        response.set_header(Header::new("Permissions-Policy", PERMISSIONS_POLICY));
        response.set_header(Header::new("Cross-Origin-Opener-Policy", "same-origin"));
        response.set_header(Header::new("Cross-Origin-Resource-Policy", "same-origin"));
        // Only what is the same for everybody says otherwise.
        if !response.headers().contains("Cache-Control") {
            response.set_header(Header::new("Cache-Control", "no-store"));
        }
        if request.rocket().state::<Portal>().is_some_and(|portal| portal.config.is_https()) {
            response.set_header(Header::new("Strict-Transport-Security", STRICT_TRANSPORT_SECURITY));
        }
    }
}
