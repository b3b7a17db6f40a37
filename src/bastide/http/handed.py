"""What the application hands to every handler that names it, in whatever dialect."""

from litestar.di import NamedDependency
from litestar.params import SkipValidation

from bastide.domain.people import Actor
from bastide.http.throttle import Throttle
from bastide.wiring import Services

UseCases = NamedDependency[SkipValidation[Services]]
Caller = NamedDependency[SkipValidation[Actor]]
SignInThrottle = NamedDependency[SkipValidation[Throttle]]
