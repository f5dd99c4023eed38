"""The REST addresses of rollouts, below /api/v1/."""

from django.urls import URLPattern, path

from rollouts.api import (
    audiences,
    change_requests,
    deployments,
    dotenv,
    flags,
    imports,
    plans,
    playground,
    releases,
    segments,
    usage,
)

VERBS = ("start", "advance", "pause", "resume", "roll_back", "cancel", "retry")

CONFIG_VERBS = ("kill", "switch_on", "restore", "preview")
CHANGE_VERBS = ("edit", "approve", "reject", "withdraw", "apply", "schedule", "unschedule", "rebase")

CONFIG = "flags/<str:key>/environments/<str:environment>/"

urlpatterns: list[URLPattern] = [
    path("flags/", flags.Flags.as_view({"get": "list", "post": "create"})),
    path("flags/<str:key>/", flags.Flags.as_view({"get": "retrieve", "patch": "change", "put": "change"})),
    path("flags/<str:key>/archive/", flags.Flags.as_view({"post": "archive"})),
    path("flags/<str:key>/unarchive/", flags.Flags.as_view({"post": "unarchive"})),
    path("flags/<str:key>/restore/", flags.Flags.as_view({"post": "restore"})),
    path("flags/<str:key>/uses/", flags.Flags.as_view({"get": "uses"})),
    path("flags/<str:key>/revisions/", flags.Flags.as_view({"get": "revisions"})),
    path(CONFIG, flags.Configs.as_view({"get": "retrieve", "put": "configure", "patch": "configure"})),
    path(f"{CONFIG}explain/", flags.Configs.as_view({"get": "explain_unit", "post": "explain"})),
    *(
        path(f"{CONFIG}{verb}/", flags.Configs.as_view({"post": verb}))
        for verb in ("kill", "switch_on", "restore", "preview")
    ),
    path(f"{CONFIG}rebucket/", flags.Configs.as_view({"get": "rebucketing", "post": "rebucket"})),
    path("imports/", imports.Imports.as_view()),
    path("change-requests/", change_requests.ChangeRequests.as_view({"get": "list", "post": "create"})),
    path("change-requests/<int:pk>/", change_requests.ChangeRequests.as_view({"get": "retrieve", "patch": "edit"})),
    path("change-requests/<int:pk>/preview/", change_requests.ChangeRequests.as_view({"get": "preview"})),
    *(
        path(f"change-requests/<int:pk>/{verb}/", change_requests.ChangeRequests.as_view({"post": verb}))
        for verb in CHANGE_VERBS
    ),
    path("audiences/", audiences.Audiences.as_view({"get": "list", "post": "create"})),
    path(
        "audiences/<str:key>/",
        audiences.Audiences.as_view({"get": "retrieve", "patch": "change", "delete": "destroy"}),
    ),
    path("audiences/<str:key>/members/", audiences.Audiences.as_view({"get": "members", "post": "enrol"})),
    path("audiences/<str:key>/links/", audiences.Audiences.as_view({"post": "link"})),
    path("audiences/<str:key>/revoke_links/", audiences.Audiences.as_view({"post": "revoke_links"})),
    path(f"{CONFIG}exposures/", usage.Usage.as_view({"get": "counts"})),
    path(f"{CONFIG}why/", usage.Usage.as_view({"get": "why"})),
    path("playground/", playground.Playground.as_view({"post": "create"})),
    path("segments/", segments.Segments.as_view({"get": "list", "post": "create"})),
    path(
        "segments/<str:key>/",
        segments.Segments.as_view({"get": "retrieve", "put": "change", "patch": "change", "delete": "destroy"}),
    ),
    path("environments/<str:key>/dotenv", dotenv.DotenvBare.as_view()),
    path("environments/<str:key>/dotenv/", dotenv.Dotenv.as_view()),
    path("environments/<str:key>/dotenv/names/", dotenv.Names.as_view()),
    path("segments/<str:key>/revisions/", segments.Segments.as_view({"get": "revisions"})),
    path("segments/<str:key>/restore/", segments.Segments.as_view({"post": "restore"})),
    path("segments/<str:key>/uses/", segments.Segments.as_view({"get": "uses"})),
    path("segments/<str:key>/preview/", segments.Segments.as_view({"post": "preview"})),
    path("releases/", releases.Releases.as_view({"get": "list", "post": "create"})),
    path("releases/<int:pk>/", releases.Releases.as_view({"get": "retrieve", "patch": "change"})),
    path("plans/", plans.Plans.as_view({"get": "list", "post": "create"})),
    path("plans/<str:key>/", plans.Plans.as_view({"get": "retrieve"})),
    path("deployments/", deployments.Deployments.as_view({"get": "list", "post": "create"})),
    path("deployments/<int:pk>/", deployments.Deployments.as_view({"get": "retrieve"})),
    *(path(f"deployments/<int:pk>/{verb}/", deployments.Deployments.as_view({"post": verb})) for verb in VERBS),
    path("deployments/<int:pk>/votes/", deployments.Deployments.as_view({"post": "vote"})),
]
