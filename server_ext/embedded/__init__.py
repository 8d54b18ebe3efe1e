"""PostgreSQL and Valkey without an installation: the real servers, private to one home.

Unless ``PROMPTCARDS_DATABASE_URL`` and ``PROMPTCARDS_REDIS_URL`` name servers, ``attach`` runs both from
wheels, with their data in the home, on Unix sockets only. They are daemons shared by all processes that are
attached to the home: the first starts them, the last stops them, and one that is killed blocks nobody.

Codes of the SetupErrors: ``disk_full``, ``home_copied``, ``home_data_missing``, ``home_half_initialised``,
``home_not_writable``, ``home_other_postgres``, ``home_other_user``, ``home_passwords_lost``,
``home_path_too_long``, ``home_private``, ``home_unreadable``, ``service_failed``, ``service_missing``,
``services_busy``, ``services_in_use``, ``system_user_failed``, ``database_url_missing``, ``url_invalid``.
"""

from server_ext.embedded.attach import Services, attach
from server_ext.embedded.external import masked
from server_ext.embedded.maintenance import ServicesStatus, ServiceStatus, remove_home, status, stop_all

__all__ = [
    "ServiceStatus",
    "Services",
    "ServicesStatus",
    "attach",
    "masked",
    "remove_home",
    "status",
    "stop_all",
]
