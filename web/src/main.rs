//! The portal's own binary.

use rocket::{Build, Rocket, launch};

#[launch]
fn portal() -> Rocket<Build> {
    veilwatch_web::rocket()
}
