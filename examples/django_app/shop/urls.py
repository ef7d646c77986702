"""Which address shows what."""

from django.urls import path

from . import views

urlpatterns = [
    path("orders", views.create),
    path("orders/<int:order_id>", views.show),
    path("counts", views.start_count),
    path("counts/<uuid:job_id>", views.show_count),
]
