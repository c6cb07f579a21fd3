"""People."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.db import models
from django.db.models.functions import Lower

from portal.lib import clock, ids


def _public_id() -> str:
    return ids.new_id("usr")


class UserManager(BaseUserManager["User"]):
    """Makes people, known by e-mail."""

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> User:
        """A person with `email`; without a password nobody can sign in as them."""
        user = self.model(email=self.normalize_email(email), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> User:
        """A member of staff with every right in the admin console."""
        return self.create_user(email, password, is_staff=True, is_superuser=True, **fields)


class User(AbstractBaseUser, PermissionsMixin):
    """A person who can sign in."""

    public_id = models.CharField(max_length=40, unique=True, default=_public_id, editable=False)
    email = models.EmailField(unique=True)
    name = models.CharField(max_length=100, blank=True, default="")
    is_active = models.BooleanField(default=True)
    is_staff = models.BooleanField(default=False)
    date_joined = models.DateTimeField(default=clock.now)

    objects: ClassVar[UserManager] = UserManager()

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        constraints = [models.UniqueConstraint(Lower("email"), name="user_email_ci_unique")]

    def __str__(self) -> str:
        return self.email

    def get_full_name(self) -> str:
        """The name, or the e-mail where none was given."""
        return self.name or self.email

    def get_short_name(self) -> str:
        """The first name, or the part of the e-mail before the @."""
        return self.name.split(" ")[0] if self.name else self.email.split("@")[0]
